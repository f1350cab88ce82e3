/**
 * The keeper of a lease, the same for locks, claims of idempotent work and batches of an outbox: it renews
 * the lease while the work goes on, and tells the holder when the lease is or may be over.
 *
 * The engine's clock decides when a lease ends; the holder cannot read it. What the holder knows is when it
 * *sent* the last request that the engine confirmed: the lease began no earlier than that. So the holder's
 * deadline is that monotonic time plus the length, less an allowance for clocks that run at different rates.
 * No wall clock takes part.
 *
 * The timers of a renewed lease keep no process alive: a program that forgets a release would never exit. The
 * timer of a lease that is not renewed does keep it alive until the lease is over, as a caller may wait for
 * its signal.
 */
import { type Clock, systemClock } from "./clock.ts";
import { interruptible } from "./deadline.ts";
import { callAfter } from "./call_after.ts";

/** Options of {@linkcode Lease}: what was granted, and the way to extend it. */
export interface LeaseOptions {
  /** The holder's clock. */
  readonly clock: Clock;
  /** The length of the lease from the request on, in milliseconds. */
  readonly length: number;
  /** The holder's monotonic time before the request that got the lease was sent. */
  readonly sentAt: number;
  /**
   * Milliseconds from `sentAt` after which the lease ends whatever the work does: no extension goes beyond.
   * @default {Infinity}
   */
  readonly maxHold?: number | undefined;
  /**
   * Extends the lease in the background.
   * @default {false}
   */
  readonly renew?: boolean | undefined;
  /**
   * The caller's own signal: when it aborts, so does the lease's, and renewal ends. The lease itself runs
   * out.
   */
  readonly signal?: AbortSignal | undefined;
  /**
   * Sends one request that makes the lease end `length` milliseconds from then.
   *
   * @returns `false` when the lease is another holder's, or free
   * @throws when the request failed: it is repeated while the lease lasts
   */
  readonly extend: (length: number, signal: AbortSignal) => Promise<boolean>;
  /** Makes the error that a holder gets, of the reason in words ("its lease has ended"). */
  readonly lost: (why: string) => Error;
}

/**
 * The reason of a signal that has done its work. Without one it would get a DOMException of its own, with a
 * stack.
 */
const OVER = "over";

/** The microtasks after which work counts as not done at once. They cost a fifth of a timer. */
const STEPS_AT_ONCE = 24;

/**
 * The monotonic time at which a holder stops to count on its lease. The allowance is 2 ms for whole
 * milliseconds on both sides and 1 % for clocks that run at different rates, at most half of a very short
 * lease.
 */
export function leaseDeadline(sentAt: number, length: number): number {
  return sentAt + length - Math.min(2 + length / 100, length / 2);
}

/** A lease that is held. */
export class Lease {
  readonly #options: LeaseOptions;
  /** The end that no extension goes beyond. */
  readonly #latest: number;
  #deadline: number;
  /** The reason why the lease is over; once set it never changes. */
  #over: string | undefined;
  #settled = false;
  /** True when the last extension was cut short by `maxHold`: another one would gain nothing. */
  #last = false;
  // Created when the signal is read, and for an extension under way: most leases end before either.
  #controller: AbortController | undefined;
  #ending: AbortController | undefined;
  /** Cancels the timer of the deadline. */
  #cancelTimer: (() => void) | undefined;
  #renewing = false;
  /** Cancels the timer of the next extension. */
  #cancelRenewal: (() => void) | undefined;
  /**
   * The last extension: they run one after the other, or it would be unknown which of two the engine saw
   * last.
   */
  #extending: Promise<unknown> | undefined;
  /** The listener of the caller's signal, where it has one. */
  #onAbort: (() => void) | undefined;

  /** Begins to keep a lease that was granted. */
  constructor(options: LeaseOptions) {
    const { sentAt, length, maxHold = Infinity, renew = false, signal } = options;
    this.#options = options;
    this.#latest = sentAt + maxHold;
    this.#deadline = Math.min(this.#latest, leaseDeadline(sentAt, length));
    if (signal) signal.addEventListener("abort", this.#onAbort = () => this.#aborted(), { once: true });
    if (renew && !signal?.aborted) {
      this.#renewing = true;
      this.#beginRenewal();
    }
  }

  /** True while the lease is certainly the holder's. */
  get held(): boolean {
    return !this.#ended();
  }

  /** The monotonic time at which the holder stops to count on it. */
  get deadline(): number {
    return this.#deadline;
  }

  /** Milliseconds for which the lease is certainly the holder's; 0 when it is over. */
  get remaining(): number {
    return this.#ended() ? 0 : this.#deadline - this.#options.clock.monotonic();
  }

  /** Aborts the moment the lease is or may be over, and when the caller's own signal does. */
  get signal(): AbortSignal {
    if (this.#controller !== undefined) return this.#controller.signal;
    const controller = this.#controller = new AbortController();
    const { signal, lost } = this.#options;
    if (signal?.aborted) controller.abort(signal.reason);
    // A lease that ended after its work was done does not abort the signal.
    else if (this.#ended() && !this.#settled) controller.abort(lost(this.#over!));
    else this.#startTimer();
    return controller.signal;
  }

  /**
   * Passes while the lease is held.
   *
   * @throws the error that `lost` makes
   */
  assertHeld(): void {
    if (this.#ended()) throw this.#options.lost(this.#over!);
  }

  /**
   * Makes the lease end `length` milliseconds from now, at most at `maxHold`.
   *
   * @returns `false` when the lease is over
   * @throws when the request failed; the lease then lasts at least as long as the shorter of before and after
   */
  async extend(length: number = this.#options.length, signal?: AbortSignal): Promise<boolean> {
    const extended = Promise.resolve(this.#extending).then(() => {
      signal?.throwIfAborted();
      return this.#extend(length);
    });
    this.#extending = extended.catch(() => {});
    return await interruptible(extended, signal);
  }

  /** Ends renewal. The lease, its deadline and its signal stay as they are. */
  stop(): void {
    this.#renewing = false;
    this.#cancelRenewal?.();
  }

  /**
   * Notes that the work is done: whatever becomes of the lease from here on, the signal does not abort.
   * Renewal goes on.
   */
  settle(): void {
    this.#settled = true;
  }

  /**
   * Ends the lease here: no renewal, no timer. With a reason the signal aborts, without one it stays quiet.
   */
  end(why?: string): void {
    if (why === undefined) this.settle();
    this.#lose(why ?? "its work is done");
  }

  async #extend(wanted: number): Promise<boolean> {
    const { clock, extend } = this.#options;
    if (this.#ended()) return false;
    const sentAt = clock.monotonic();
    const length = Math.min(wanted, Math.ceil(this.#latest - sentAt));
    if (length <= 0) return !this.#ended();
    const deadline = Math.min(this.#latest, leaseDeadline(sentAt, length));
    // The extension may shorten the lease, and its reply may be lost: until it comes, the shorter of both
    // counts.
    this.#deadline = Math.min(this.#deadline, deadline);
    const over = this.#untilOver();
    try {
      if (!await interruptible(extend(length, over), over)) this.#lose("another holder may have it");
      if (this.#ended()) return false;
      this.#deadline = deadline;
      this.#last = length < wanted;
      return true;
    } catch (error) {
      if (this.#ended()) return false;
      throw error;
    } finally {
      if (!this.#ended()) this.#startTimer();
    }
  }

  /** Aborts at the end of the lease, also after {@linkcode settle}: what bounds an extension. */
  #untilOver(): AbortSignal {
    this.#ending ??= new AbortController();
    this.#startTimer();
    return this.#ending.signal;
  }

  /**
   * Sets the timer of the first extension. Work that ends at once is over before: a timer costs it more than
   * the claim. Another clock than the runtime's may be moved on at once.
   */
  async #beginRenewal(): Promise<void> {
    const steps = this.#options.clock === systemClock ? STEPS_AT_ONCE : 0;
    for (let i = 0; i < steps && this.#renewing; i++) await undefined;
    if (this.#renewing) this.#renewLater(false);
  }

  /** Extends when a third of the lease is gone, and every tenth of it after a failure. */
  #renewLater(failed: boolean): void {
    const { clock, length } = this.#options;
    const due = failed ? length / 10 : this.#deadline - length * 2 / 3 - clock.monotonic();
    this.#cancelRenewal = callAfter(clock, Math.max(1, due), () => this.#renew(length), true);
  }

  async #renew(length: number): Promise<void> {
    if (!this.#renewing || this.#last) return;
    const extended = await this.extend(length).catch(() => false);
    if (this.#renewing) this.#renewLater(!extended);
  }

  #aborted(): void {
    this.stop();
    if (!this.#settled) this.#controller?.abort(this.#options.signal!.reason);
  }

  /**
   * A lease that is over stays over; the deadline is looked at here too, as a busy runtime may fire no timer
   * in time.
   */
  #ended(): boolean {
    if (this.#over === undefined && this.#options.clock.monotonic() >= this.#deadline) {
      this.#lose("its lease has ended");
    }
    return this.#over !== undefined;
  }

  #lose(why: string): void {
    if (this.#over !== undefined) return;
    this.#over = why;
    this.#cancelTimer?.();
    this.stop();
    if (this.#onAbort) this.#options.signal!.removeEventListener("abort", this.#onAbort);
    if (!this.#settled) this.#controller?.abort(this.#options.lost(why));
    this.#ending?.abort(OVER);
  }

  /** Sets the timer of the deadline, if a signal exists that must abort then. */
  #startTimer(): void {
    if (this.#controller === undefined && this.#ending === undefined) return;
    this.#cancelTimer?.();
    if (this.#ended()) return;
    const { clock, renew } = this.#options;
    const left = Math.max(0, this.#deadline - clock.monotonic());
    this.#cancelTimer = callAfter(clock, left, () => {
      if (!this.#ended()) this.#startTimer(); // a timer may be shorter than the lease, or fire early
    }, renew);
  }
}
