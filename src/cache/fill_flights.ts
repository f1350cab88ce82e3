import type { ChangeWait } from "../store/change_wait.ts";

/** The failures remembered, one a key; the oldest goes first. */
const MAX_FAILURES = 100;

/** A fill of this isolate that the store accepted. */
export interface Landing {
  /** The filler and its grant. */
  readonly holder: string;
  /** The kind of the value: its form and its tags. */
  readonly kind: string;
  /** The encoded value; `undefined`: the origin had nothing. */
  readonly text: string | undefined;
  /** Milliseconds for which it is fresh. */
  readonly ttl: number;
}

/**
 * The ends of fills in this isolate. Waiters are told of each, so that none polls for it; and a call finds
 * the failure of a fill that ended while the call was under way. No waiter depends on being told: each wait
 * has its own bound.
 */
export class FillFlights {
  readonly #waits = new Map<string, Set<ChangeWait>>();
  readonly #failures = new Map<string, { readonly count: number; readonly error: unknown }>();
  /** The last accepted fill of each key that is waited for. */
  readonly #landings = new Map<string, Landing>();
  #count = 0;

  /** The number of fills that have ended; to be read when a call begins. */
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
    if (!waits?.delete(wait) || waits.size > 0) return;
    this.#waits.delete(key);
    this.#landings.delete(key);
  }

  /**
   * The value of the fill that a caller was told to wait for. The store named the holder after the call had
   * begun, and accepted the fill after that: so the value was the current one while the call was under way,
   * and needs no other look.
   */
  landedWith(key: string, holder: string | undefined): Landing | undefined {
    const landing = this.#landings.get(key);
    return landing !== undefined && landing.holder === holder ? landing : undefined;
  }

  /** Notes that a fill of the key has ended, and tells the waiters. */
  land(key: string, failure?: { readonly error: unknown }, landing?: Landing): void {
    const count = ++this.#count;
    if (landing !== undefined && this.#waits.has(key)) this.#landings.set(key, landing);
    this.#failures.delete(key);
    if (failure !== undefined) {
      this.#failures.set(key, { count, error: failure.error });
      if (this.#failures.size > MAX_FAILURES) this.#failures.delete(this.#failures.keys().next().value!);
    }
    for (const wait of this.#waits.get(key) ?? []) wait.notify();
  }
}
