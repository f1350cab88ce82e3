/** Sends no faster than a throttle allows; as its state is in a store, all isolates share the rate. */
import { type Clock, systemClock } from "../clock.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import type { Throttle, ThrottleDecision } from "../throttle/throttle.ts";
import { checkFunction, checkMethods, checkOneOf, checkOptionNames, type OptionNames } from "../validate.ts";
import { noteWrapper, openBulk, sendBy } from "./_inner_mailer.ts";
import { aborted, checkMailer, prepareCall } from "./_combinator.ts";
import { mailError } from "./mail_error.ts";
import type { BatchOptions, BulkSender, Mailer, Receipt, SendOptions } from "./mailer.ts";
import type { Message, PreparedMessage } from "./message.ts";

/**
 * Options of {@linkcode rateLimited}.
 *
 * @category Mail
 */
export interface RateLimitedOptions {
  /**
   * The key that the throttle counts under: mailers that share a provider's limit share this.
   * @default {the mailer's name}
   */
  readonly key?: string | undefined;
  /**
   * The unit that the rate counts. With `request`, a batch of a bulk takes one unit, as providers count that
   * limit requests (Resend); messages of a batch that the provider wants alone are not counted again.
   * @default {"message"}
   */
  readonly per?: "message" | "request" | undefined;
  /**
   * The number of units a message takes, a positive integer; SES counts recipients. Not with `per:
   * "request"`.
   * @default {1}
   */
  readonly cost?: ((message: PreparedMessage) => number) | undefined;
  /**
   * The maximum time that a message may wait for its turn; 0 refuses at once.
   * @default {"30s"}
   */
  readonly wait?: Duration | 0 | undefined;
  /**
   * The clock for waits.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

const TASK = "make a rate-limited mailer";
const OPTIONS = {
  key: true,
  per: true,
  cost: true,
  wait: true,
  clock: true,
} satisfies OptionNames<RateLimitedOptions>;

/**
 * A mailer that keeps to a rate across isolates. A message waits for its turn up to `wait`; then it is
 * refused as `rate-limited`, retryable after `retryAfter`. When the throttle's store is down, the throttle's
 * own policy decides: `allow` sends at any rate, `deny` and `throw` send nothing.
 *
 * {@linkcode sendBulk} keeps batches. The messages of a batch take their turns one after the other, and those
 * that got one in time are sent together.
 *
 * @throws {TypeError} when an option is not known, or `cost` is given with `per: "request"`
 * @throws {RangeError} when `wait` is negative
 * @category Mail
 * @example
 * ```ts
 * import { createThrottle, memoryStore } from "@holdfast/edge";
 * import { memoryMailer, rateLimited } from "@holdfast/edge/mail";
 * const throttle = createThrottle(memoryStore(), { name: "mail", limit: 10, window: "1s" });
 * const mailer = rateLimited(memoryMailer(), throttle);
 * await mailer.send({ from: "shop@example.com", to: "jane@example.com", subject: "Hello", text: "Hello" });
 * ```
 */
export function rateLimited(mailer: Mailer, throttle: Throttle, options: RateLimitedOptions = {}): Mailer {
  checkMailer(TASK, mailer);
  const must = "its second argument must be what createThrottle(store, …) returns";
  checkMethods(TASK, must, throttle, ["check"]);
  checkOptionNames(TASK, options, OPTIONS);
  checkOneOf(TASK, "per", options.per ?? "message", ["message", "request"]);
  checkFunction(TASK, "cost", options.cost);
  if (options.per === "request" && options.cost !== undefined) {
    throw new TypeError(
      `Cannot ${TASK} as 'cost' is the cost of a message: leave it out with per: "request"`,
    );
  }
  return new RateLimited(mailer, throttle, options);
}

class RateLimited implements Mailer {
  readonly name: string;
  readonly deduplicates: boolean;
  readonly selectsRecipients: boolean;
  readonly #mailer: Mailer;
  readonly #throttle: Throttle;
  readonly #key: string;
  readonly #perRequest: boolean;
  readonly #cost: (message: PreparedMessage) => number;
  readonly #wait: number;
  readonly #clock: Clock;

  constructor(mailer: Mailer, throttle: Throttle, options: RateLimitedOptions) {
    noteWrapper(this);
    this.name = mailer.name;
    this.deduplicates = mailer.deduplicates;
    this.selectsRecipients = mailer.selectsRecipients ?? false;
    this.#mailer = mailer;
    this.#throttle = throttle;
    this.#key = options.key ?? mailer.name;
    this.#perRequest = options.per === "request";
    this.#cost = options.cost ?? (() => 1);
    this.#wait = options.wait === 0 ? 0 : toMilliseconds(options.wait ?? "30s", "wait");
    this.#clock = options.clock ?? systemClock;
  }

  async send(message: Message, options: SendOptions = {}): Promise<Receipt> {
    const prepared = prepareCall(this.name, message, options);
    await this.#turn(this.#cost(prepared), options.signal);
    return await sendBy(this.#mailer, prepared, options);
  }

  openBulk(): BulkSender {
    const inner = openBulk(this.#mailer);
    return {
      size: inner.size,
      repeatable: inner.repeatable,
      send: (messages, keys, options) => this.#batch(inner, messages, keys, options),
      close: async () => await inner.close?.(),
    };
  }

  #batch(
    inner: BulkSender,
    messages: readonly PreparedMessage[],
    keys: readonly (string | undefined)[],
    options: BatchOptions,
  ): Promise<Receipt>[] {
    const turns = this.#turns(messages, options.signal);
    const sending = (async () => {
      const errors = await turns;
      const admitted = messages.map((_, i) => i).filter((i) => errors[i] === undefined);
      const sent = admitted.length === 0
        ? []
        : inner.send(admitted.map((i) => messages[i]!), admitted.map((i) => keys[i]), options);
      // An error may come while an earlier message's is awaited.
      sent.forEach((one) => one.catch(() => {}));
      return new Map(admitted.map((i, n) => [i, sent[n]]));
    })();
    return messages.map(async (_, i) => {
      const sent = await sending;
      const error = (await turns)[i];
      if (error !== undefined) throw error;
      return await (sent.get(i) ?? Promise.reject(new Error("the sender gave no answer")));
    });
  }

  /** Takes the turns of a batch, one after the other; the error of each message that got none. */
  async #turns(
    messages: readonly PreparedMessage[],
    signal: AbortSignal | undefined,
  ): Promise<readonly unknown[]> {
    const turn = async (cost: () => number) => {
      try {
        await this.#turn(cost(), signal);
        return undefined;
      } catch (error) {
        return error;
      }
    };
    if (this.#perRequest) return Array(messages.length).fill(await turn(() => 1));
    const errors: unknown[] = [];
    for (const message of messages) errors.push(await turn(() => this.#cost(message)));
    return errors;
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
