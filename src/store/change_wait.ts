import type { Clock } from "../clock.ts";
import { canResolveElsewhere } from "../cross_request.ts";
import { deferred } from "../deferred.ts";
import type { AtomicStore, TransactOptions } from "./atomic_store.ts";

/** Options of {@linkcode ChangeWait.next}. */
export interface NextOptions {
  /** The longest time to wait, in milliseconds. */
  readonly longest: number;
  /** The time to wait where the engine cannot notify, or fails to; in milliseconds. */
  readonly backoff: number;
  /** The one field of the record that matters. */
  readonly field?: string | undefined;
}

/**
 * The waits of a caller that asks for a record again and again until it may have it. Each wait starts from
 * the version that the last transition returned, so a change between that call and the wait is not missed.
 */
export class ChangeWait {
  readonly #store: Pick<AtomicStore, "watch">;
  readonly #key: string;
  readonly #clock: Clock;
  readonly #signal: AbortSignal | undefined;
  #version: string | undefined;
  #notifyLocally: (() => void) | undefined;
  #notified = false;

  /** Nothing is sent before the first {@linkcode next}. */
  constructor(store: Pick<AtomicStore, "watch">, key: string, clock: Clock, signal: AbortSignal | undefined) {
    this.#store = store;
    this.#key = key;
    this.#clock = clock;
    this.#signal = signal;
  }

  /** Options for the transition: they note the version that it leaves behind. */
  options(): TransactOptions {
    this.#version = undefined;
    return { onVersion: (version) => void (this.#version = version) };
  }

  /** Ends the current wait, or the next one before it begins: the record changed in this process. */
  notify(): void {
    if (!canResolveElsewhere()) return; // the backoff ends the wait
    this.#notified = true;
    this.#notifyLocally?.();
  }

  /**
   * Waits until the record may have changed, at most `longest`.
   *
   * @throws the signal's reason
   */
  async next({ longest, backoff, field }: NextOptions): Promise<void> {
    const signal = this.#signal;
    signal?.throwIfAborted();
    if (longest > 0 && !this.#notified) await this.#wait(longest, Math.min(longest, backoff), field);
    this.#notified = false;
    signal?.throwIfAborted();
  }

  async #wait(longest: number, backoff: number, field: string | undefined): Promise<void> {
    // Ends the timer and the engine's wait, whichever is left. It is of this request alone: on Workers
    // another request may resolve a promise of this one, but abort no signal.
    const over = new AbortController();
    const local = deferred<void>();
    const end = this.#notifyLocally = () => local.resolve();
    this.#signal?.addEventListener("abort", end, { once: true });
    const sleep = (milliseconds: number) => this.#clock.sleep(milliseconds, over.signal).catch(() => {});
    try {
      const since = this.#version;
      if (!this.#store.watch || since === undefined) {
        await Promise.race([local.promise, sleep(backoff)]);
        return;
      }
      const changed = this.#store.watch(this.#key, { timeout: longest, since, field, signal: over.signal });
      // An engine that fails to notify is asked again after the backoff. The timer bounds one that never
      // answers.
      await Promise.race([changed.catch(() => sleep(backoff)), local.promise, sleep(longest)]);
    } finally {
      over.abort("over"); // without a reason it would make an exception, with a stack
      this.#signal?.removeEventListener("abort", end);
      this.#notifyLocally = undefined;
    }
  }
}
