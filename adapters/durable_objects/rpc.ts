/**
 * The messages between the store and its objects. Outcomes are values: an error loses its class on the way.
 */
import type { ListPage } from "../../src/store/key_value_store.ts";
import type { Fields } from "../../src/store/transition.ts";

/**
 * The reason why an object did not do what it was asked; nothing was changed.
 *
 * @category Stores
 */
export type Refusal = "transition-unknown" | "value-too-large";

/**
 * The result of a transition.
 *
 * @category Stores
 */
export type Transacted =
  | {
    /** The transition's output. */
    readonly output: Fields;
    /** Tells this state of the record from every other; 0 when there is no record. */
    readonly version: number;
  }
  | {
    /** The reason why it did not run. */
    readonly refused: Refusal;
  };

/**
 * The result of a wait for a change.
 *
 * @category Stores
 */
export interface Watched {
  /** Whether the record changed; `false` when the time was up. */
  readonly changed: boolean;
  /** The state it is in now. */
  readonly version: number;
  /** Set when the object has as many waiters as it takes, and did not wait. */
  readonly refused?: true;
}

/**
 * The methods of a `HoldfastObject`, as its stub has them: one call is one round trip.
 *
 * @category Stores
 */
export interface HoldfastStub {
  /**
   * Runs a transition by its name. The input is the JSON of `Fields`, the answer that of {@linkcode Transacted}: an RPC takes
   * one text for less than an object of some fields.
   */
  transact(name: string, key: string, input: string): Promise<string>;
  /** The encoded values of many keys; fewer than asked when they would not fit one reply. */
  getMany(keys: string[]): Promise<(string | undefined)[]>;
  /** Stores encoded values; answers why not, when not. */
  setMany(entries: [string, string][], ttl: number | undefined): Promise<Refusal | undefined>;
  /** Deletes many keys and answers how many there were. */
  deleteMany(keys: string[]): Promise<number>;
  /** A page of live keys, in order, after `cursor`. */
  list(prefix: string, cursor: string | undefined, limit: number): Promise<ListPage>;
  /**
   * Waits at most so long until the record, or one field of it, is in another state than `seen` (absent: than
   * now).
   */
  watch(key: string, seen: number | undefined, milliseconds: number, field?: string): Promise<Watched>;
}
