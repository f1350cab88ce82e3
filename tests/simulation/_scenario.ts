/** Lives in another runtime: plain JSON in and out, so that runtimes can be compared. */
import type { ReplicationStrategy } from "@holdfast/edge/sessions";
import { live } from "./_simulation.ts";

/** The lives to run. */
export interface LivesInput {
  readonly strategy: ReplicationStrategy;
  readonly loses: boolean;
  readonly from: number;
  readonly to: number;
}

/** The seeds of lives that broke a promise, and how much happened. */
export async function scenario(
  { strategy, loses, from, to }: LivesInput,
): Promise<{ readonly bad: readonly number[]; readonly events: number }> {
  const bad: number[] = [];
  let events = 0;
  for (let seed = from; seed < to; seed++) {
    const life = await live({ seed, strategy, loses });
    if (life.violations.length > 0) bad.push(seed);
    events += life.events;
  }
  return { bad, events };
}
