import type { Duration } from "../duration.ts";
import type { Lock, LockCallOptions, LockSet, Release } from "./lock.ts";

/** From the best to the worst. */
const OUTCOMES: readonly Release[] = ["released", "expired", "overtaken", "unconfirmed"];

/** The locks that {@linkcode Locks.acquireAll} answers: as good as the worst of them. */
export class HeldLocks implements LockSet {
  readonly locks: readonly Lock[];
  readonly signal: AbortSignal;

  constructor(locks: readonly Lock[]) {
    this.locks = locks;
    this.signal = AbortSignal.any(locks.map((lock) => lock.signal));
  }

  get remaining(): number {
    return Math.min(...this.locks.map((lock) => lock.remaining));
  }

  assertHeld(): void {
    for (const lock of this.locks) lock.assertHeld();
  }

  async extend(ttl?: Duration, options?: LockCallOptions): Promise<boolean> {
    const extended = await Promise.allSettled(this.locks.map((lock) => lock.extend(ttl, options)));
    if (extended.some((one) => one.status === "fulfilled" && !one.value)) return false;
    for (const one of extended) if (one.status === "rejected") throw one.reason;
    return true;
  }

  async release(options?: LockCallOptions): Promise<Release> {
    const results = await Promise.all(this.locks.map((lock) => lock.release(options)));
    return OUTCOMES[Math.max(...results.map((result) => OUTCOMES.indexOf(result)))]!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }
}
