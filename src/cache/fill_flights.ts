import type { ChangeWait } from "../store/change_wait.ts";

/** The failures remembered, one a key; the oldest goes first. */
const MAX_FAILURES = 100;

/**
 * The ends of fills in this isolate. Waiters are told of each, so that none polls for it; and a call finds the failure of
 * a fill that ended while the call was under way. No waiter depends on being told: each wait has its own bound.
 */
export class FillFlights {
  readonly #waits = new Map<string, Set<ChangeWait>>();
  readonly #failures = new Map<string, { readonly count: number; readonly error: unknown }>();
  #count = 0;

  /** How many fills have ended; to be read when a call begins. */
  get count(): number {
    return this.#count;
  }

  /** The failure of a fill of the key that ended after that count. */
  failureSince(key: string, count: number): { readonly error: unknown } | undefined {
    const failure = this.#failures.get(key);
    return failure !== undefined && failure.count > count ? failure : undefined;
  }

  /** Adds a wait that is ended whenever a fill of the key ends. */
  enter(key: string, wait: ChangeWait): void {
    let waits = this.#waits.get(key);
    if (waits === undefined) this.#waits.set(key, waits = new Set());
    waits.add(wait);
  }

  /** Removes a wait. */
  leave(key: string, wait: ChangeWait): void {
    const waits = this.#waits.get(key);
    if (waits?.delete(wait) && waits.size === 0) this.#waits.delete(key);
  }

  /** Notes that a fill of the key has ended, and tells the waiters. */
  land(key: string, failure?: { readonly error: unknown }): void {
    const count = ++this.#count;
    this.#failures.delete(key);
    if (failure !== undefined) {
      this.#failures.set(key, { count, error: failure.error });
      if (this.#failures.size > MAX_FAILURES) this.#failures.delete(this.#failures.keys().next().value!);
    }
    for (const wait of this.#waits.get(key) ?? []) wait.notify();
  }
}
