import type { Transition } from "@holdfast/edge/engine";
import type { Scenario } from "./_explore.ts";

/** A contract whose promises are explored. */
export interface Subject<Knowledge> {
  readonly name: string;
  readonly transitions: readonly Transition[];
  readonly scenario: Scenario<Knowledge>;
  /** The file of the transitions, and its mutants: a text that it has once, and what stands there instead. */
  readonly path: string;
  readonly mutants: readonly (readonly [from: string, to: string])[];
}

/** The three callers. */
export const CALLERS: readonly string[] = ["a", "b", "c"];

/** A list with one more member, in order, so that equal states stay equal. */
export function including(list: readonly string[], member: string): readonly string[] {
  return list.includes(member) ? list : [...list, member].sort();
}
