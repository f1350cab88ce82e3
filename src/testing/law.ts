/** A law: a sentence, and how to find out whether it holds. */
import type { Clock } from "../clock.ts";

/**
 * One promise, as data: any test runner can register it, also inside a Worker.
 *
 * @category Laws
 */
export interface Law<Subject> {
  /** The promise as a sentence. */
  readonly name: string;
  /** Rejects when the promise is broken. */
  run(subject: Subject): Promise<void>;
}

/**
 * The subject of the laws of a store: a store to use up, and a way to let time pass on its clock.
 *
 * @category Laws
 */
export interface StoreSubject<Store> {
  /** An empty namespace of its own: the laws write any key. */
  readonly store: Store;
  /** Lets that many milliseconds pass for the engine: moves an injected clock, or really waits. */
  wait(milliseconds: number): Promise<void>;
  /**
   * The clock that `wait` moves, for contracts that look at one themselves; absent where real time passes.
   */
  readonly clock?: Clock | undefined;
  /**
   * Whether the engine's listing may show a key twice while others come and go, as SCAN of Redis does when
   * its table of keys changes size. No engine may lose a key that is there throughout.
   * @default {false}
   */
  readonly listsTwice?: boolean | undefined;
}

/**
 * A broken law.
 *
 * @category Laws
 */
export class LawError extends Error {
  /** Survives minifiers. */
  override readonly name = "LawError";
}
