/** The purpose of an outbox: the part that knows what its items are and how to deliver one. */
import type { Fields } from "../store/transition.ts";

/** One attempt to deliver an item. */
export interface Attempt {
  readonly id: string;
  /** The number of the attempt, the first is 1. */
  readonly number: number;
  /** Made when it is looked at: aborts when the item may be another drainer's. */
  readonly signal: () => AbortSignal;
}

/**
 * The result of an attempt. Of an `unknown` one it is not certain that it delivered nothing; `again` asks for
 * another attempt; what is `left` of a partial one is what further attempts are for.
 */
export type Outcome =
  | { readonly state: "done" }
  | {
    readonly state: "partial";
    readonly left: readonly string[];
    readonly again: boolean;
    readonly unknown: boolean;
    readonly code: string;
  }
  | {
    readonly state: "failed";
    readonly again: boolean;
    readonly unknown: boolean;
    readonly code: string;
    /** Milliseconds that the other side asked to wait. */
    readonly retryAfter?: number | undefined;
  };

/** The way to deliver items. It never throws. */
export interface Delivery {
  /** Whether an item may be delivered again although an earlier attempt may have succeeded. */
  readonly repeats: boolean;
  /** Delivers one item, of which `item` is the stored content. */
  deliver(item: Fields, attempt: Attempt): Promise<Outcome>;
}
