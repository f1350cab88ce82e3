/** Sends no faster than a throttle allows, and since its state is in a store: all isolates together. */
import { type Clock, systemClock } from "../clock.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import type { Throttle, ThrottleDecision } from "../throttle/throttle.ts";
import { aborted, prepareCall } from "./_combinator.ts";
import { mailError } from "./mail_error.ts";
import type { Mailer, Receipt, SendOptions } from "./mailer.ts";
import type { Message, PreparedMessage } from "./message.ts";

/** Options of {@linkcode rateLimited}. */
export interface RateLimitedOptions {
  /**
   * What the throttle counts under: mailers that share a provider's limit share this.
   * @default {the mailer's name}
   */
  readonly key?: string | undefined;
  /**
   * How many units a message takes, a positive integer; SES counts recipients.
   * @default {1}
   */
  readonly cost?: ((message: PreparedMessage) => number) | undefined;
  /**
   * How long a message may wait for its turn; 0 refuses at once.
   * @default {"30s"}
   */
  readonly wait?: Duration | 0 | undefined;
  /**
   * Who waits.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

/**
 * A mailer that keeps to a rate across isolates. A message waits for its turn as long as it may; then it is refused as
 * `rate-limited`, retryable after `retryAfter`. When the throttle's store is down, its `whenUnavailable` decides: `allow` sends at any
 * rate, `deny` and `throw` send nothing.
 * {@linkcode sendBulk} sends through it one by one, each message in its turn.
 *
 * @throws {RangeError} when `wait` is negative
 * @example
 * ```ts
 * import { createThrottle, memoryMailer, memoryStore, rateLimited } from "@holdfast/edge";
 * const throttle = createThrottle(memoryStore(), { name: "mail", limit: 10, window: "1s" });
 * const mailer = rateLimited(memoryMailer(), throttle);
 * await mailer.send({ from: "shop@example.com", to: "jane@example.com", subject: "Hello", text: "Hello" });
 * ```
 */
export function rateLimited(mailer: Mailer, throttle: Throttle, options: RateLimitedOptions = {}): Mailer {
  return new RateLimited(mailer, throttle, options);
}

class RateLimited implements Mailer {
  readonly name: string;
  readonly deduplicates: boolean;
  readonly #mailer: Mailer;
  readonly #throttle: Throttle;
  readonly #key: string;
  readonly #cost: (message: PreparedMessage) => number;
  readonly #wait: number;
  readonly #clock: Clock;

  constructor(mailer: Mailer, throttle: Throttle, options: RateLimitedOptions) {
    this.name = mailer.name;
    this.deduplicates = mailer.deduplicates;
    this.#mailer = mailer;
    this.#throttle = throttle;
    this.#key = options.key ?? mailer.name;
    this.#cost = options.cost ?? (() => 1);
    this.#wait = options.wait === 0 ? 0 : toMilliseconds(options.wait ?? "30s", "wait");
    this.#clock = options.clock ?? systemClock;
  }

  async send(message: Message, options: SendOptions = {}): Promise<Receipt> {
    const prepared = prepareCall(this.name, message, options);
    await this.#turn(this.#cost(prepared), options.signal);
    return await this.#mailer.send(prepared, options);
  }

  async #turn(cost: number, signal: AbortSignal | undefined): Promise<void> {
    const giveUpAt = this.#clock.monotonic() + this.#wait;
    for (;;) {
      const { allowed, retryAfter, degraded } = await this.#check(cost, signal);
      if (allowed) return;
      if (degraded) {
        throw mailError(this.name, "rate-limited", "its rate limit could not be asked", { retryable: true });
      }
      if (retryAfter === Infinity) {
        throw mailError(this.name, "rate-limited", "its rate limit never admits that much at once");
      }
      if (this.#clock.monotonic() + retryAfter > giveUpAt) {
        throw mailError(this.name, "rate-limited", "its rate limit is reached", {
          retryable: true,
          retryAfter,
        });
      }
      await this.#clock.sleep(retryAfter, signal).catch(() => {
        throw aborted(this.name, signal!);
      });
    }
  }

  async #check(cost: number, signal: AbortSignal | undefined): Promise<ThrottleDecision> {
    try {
      return await this.#throttle.check(this.#key, { cost, ...(signal && { signal }) });
    } catch (error) {
      if (signal?.aborted) throw aborted(this.name, signal);
      if (!(error instanceof HoldfastError)) throw error;
      throw mailError(this.name, error.code, "its rate limit could not be asked", {
        retryable: error.retryable,
        cause: error,
      });
    }
  }
}
