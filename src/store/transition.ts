/**
 * Transitions: a contract is a set of pure functions over one key's record, and an engine runs them next to
 * the data. No I/O, no clock and no randomness inside: `now` is the engine's, ids come in as input.
 */

/**
 * A flat map of strings: a Redis hash, a SQL row or a key-value entry alike. Numbers are decimal integers.
 *
 * @category Transitions
 */
export type Fields = Readonly<Record<string, string>>;

/**
 * The decision of a transition.
 *
 * @category Transitions
 */
export interface Step {
  /** The answer to the caller. */
  readonly output: Fields;
  /** The change of the record; absent when it stays as it is, byte for byte. */
  readonly write?: Write;
}

/**
 * The next state of a record.
 *
 * @category Transitions
 */
export interface Write {
  /** The whole next record; `undefined` deletes it. */
  readonly record: Fields | undefined;
  /** The deadline, in milliseconds since the epoch by the engine's clock; absent means never. */
  readonly expiresAt?: number;
  /**
   * The treatment of the record by a bounded engine that is full.
   * @default {"evictable"}
   */
  readonly retention?: Retention;
}

/**
 * The treatment of a record by a bounded engine that is full.
 *
 * - `evictable`: leaves first. A cached value, a counter.
 * - `kept`: leaves after the evictable ones. A session, a counter that has reached its limit.
 * - `protected`: is never evicted; new ones are refused instead. Without it something would be allowed that is
 *   forbidden: a held lock, a claim, a tombstone, a block.
 *
 * @category Transitions
 */
export type Retention = "evictable" | "kept" | "protected";

/**
 * A named pure function over one key's record. The name is how an engine finds its native form (compiled Lua,
 * a method inside a Durable Object). Equal input on an equal record at an equal time gives an equal step.
 *
 * @category Transitions
 * @example
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import type { Transition } from "@holdfast/edge/engine";
 * const push: Transition = {
 *   name: "example.push",
 *   apply: (record, input) => ({
 *     output: { length: String((record?.items ?? "").length + 1) },
 *     write: { record: { items: (record?.items ?? "") + input.item } },
 *   }),
 * };
 * const { length } = await memoryStore().transact(push, "letters", { item: "a" });
 * if (length !== "1") throw new Error("unexpected");
 * ```
 */
export interface Transition {
  /** `contract.verb`, unique within the module. */
  readonly name: string;
  /**
   * Whether the transition never writes. Engines that run a native form then need not remember the call, to
   * answer its repetition.
   * @default {false}
   */
  readonly readOnly?: boolean | undefined;
  /**
   * Decides on the record as it is (`undefined` when there is none or it has expired) at `now`, in
   * milliseconds.
   */
  apply(record: Fields | undefined, input: Fields, now: number): Step;
}
