/** The same key sends once: across isolates, and across providers that know nothing of each other's keys. */
import { type Duration, toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import type { Idempotency } from "../idempotency/idempotency.ts";
import { checkMethods, checkOptionNames, type OptionNames } from "../validate.ts";
import { aborted, checkMailer, prepareCall } from "./_combinator.ts";
import { noteWrapper, sendBy } from "./_inner_mailer.ts";
import { fingerprintOf } from "./_packed_message.ts";
import { readInTime } from "./_read_in_time.ts";
import { mailError, unsupported } from "./mail_error.ts";
import type { Mailer, Receipt, SendOptions } from "./mailer.ts";
import type { Message } from "./message.ts";
import { asMailError } from "./outcome.ts";

/**
 * Options of {@linkcode idempotent}.
 *
 * @category Mail
 */
export interface IdempotentOptions {
  /**
   * The maximum time to wait for another call that is sending under the same key; 0 does not wait.
   * @default {"30s"}
   */
  readonly wait?: Duration | 0 | undefined;
}

const TASK = "make an idempotent mailer";

/** The outcome that is stored under a key. */
type Outcome =
  | { readonly state: "sent"; readonly receipt: Receipt }
  | { readonly state: "unknown" };

/**
 * A mailer that sends once per key, whatever is behind it. Every repetition of the key gets the first
 * receipt; the same key with another message is `fingerprint-mismatch`.
 *
 * A message that is sent without an `idempotencyKey` is sent every time: only the caller knows which two
 * calls mean the same message, so give every `send` the id of what it is about (`order-17`).
 *
 * A message that was certainly not sent frees its key. Whether a message was sent may be unknown: the reply
 * was lost, or the isolate died between taking the key and noting the outcome. When the mailer behind
 * deduplicates, the key is free again, as repeating it is harmless. Otherwise the key is kept as unknown:
 * repeating it is an error with `delivery: "unknown"`, not retryable, and nothing is sent until the
 * idempotency's retention ends. To send all the same, use another key.
 *
 * A receipt is stored with its `deferred` recipients and is final under its key: put `retrying` inside,
 * `idempotent(retrying(mailer), …)`. Sending to some of the recipients is `unsupported`.
 *
 * {@linkcode sendBulk} sends through it one by one, for every message has its own key.
 *
 * @throws {RangeError} when `wait` is negative
 * @category Mail
 * @example
 * ```ts
 * import { createIdempotency, memoryStore } from "@holdfast/edge";
 * import { idempotent, memoryMailer } from "@holdfast/edge/mail";
 * const memory = memoryMailer();
 * const mailer = idempotent(memory, createIdempotency(memoryStore(), { name: "mail" }));
 * const message = { from: "shop@example.com", to: "jane@example.com", subject: "Order 17", text: "Thank you." };
 * await mailer.send(message, { idempotencyKey: "order-17" });
 * await mailer.send(message, { idempotencyKey: "order-17" });
 * if (memory.outbox.length !== 1) throw new Error("sent twice");
 * ```
 */
export function idempotent(
  mailer: Mailer,
  idempotency: Idempotency,
  options: IdempotentOptions = {},
): Mailer {
  checkMailer(TASK, mailer);
  const must = "its second argument must be what createIdempotency(store) returns";
  checkMethods(TASK, must, idempotency, ["run"]);
  checkOptionNames(TASK, options, { wait: true } satisfies OptionNames<IdempotentOptions>);
  return new Idempotent(mailer, idempotency, options);
}

class Idempotent implements Mailer {
  readonly name: string;
  readonly deduplicates = true;
  readonly #mailer: Mailer;
  readonly #idempotency: Idempotency;
  readonly #wait: number | undefined;

  constructor(mailer: Mailer, idempotency: Idempotency, { wait = "30s" }: IdempotentOptions) {
    noteWrapper(this);
    this.name = mailer.name;
    this.#mailer = mailer;
    this.#idempotency = idempotency;
    this.#wait = wait === 0 ? undefined : toMilliseconds(wait, "wait");
  }

  async send(message: Message, options: SendOptions = {}): Promise<Receipt> {
    const prepared = prepareCall(this.name, message, options);
    const { idempotencyKey: key, signal } = options;
    if (options.recipients) throw unsupported(this.name, "sending to some of the recipients");
    if (key === undefined) return await sendBy(this.#mailer, prepared, options);
    await readInTime(prepared, this.name, options);
    const fingerprint = await fingerprintOf(prepared, this.name);
    let own: Outcome | undefined;
    let failed: unknown;
    let outcome: Outcome;
    try {
      outcome = await this.#idempotency.run<Outcome>(key, async ({ attempt }) => {
        // The holder before ended without an outcome: it may have sent.
        if (attempt > 1 && !this.#mailer.deduplicates) return own = { state: "unknown" };
        try {
          own = { state: "sent", receipt: await sendBy(this.#mailer, prepared, options) };
        } catch (error) {
          failed = error;
          if (this.#mailer.deduplicates || !leftUnknown(this.name, error)) throw error;
          own = { state: "unknown" };
        }
        return own;
      }, { fingerprint, wait: this.#wait, signal });
    } catch (error) {
      if (own === undefined) throw error === failed ? error : this.#refused(error, signal);
      outcome = own; // it could not be noted: the key is taken until its lease ends, then unknown
    }
    if (failed !== undefined && own !== undefined) throw asMailError(this.name, failed);
    if (outcome.state === "sent") return outcome.receipt;
    throw mailError(this.name, "in-doubt", "what became of an earlier sending under the key is not known", {
      delivery: "unknown",
      phase: "reply",
    });
  }

  /** The store's own errors, by their meaning for the message. */
  #refused(error: unknown, signal: AbortSignal | undefined): unknown {
    if (signal?.aborted) return aborted(this.name, signal);
    if (!(error instanceof HoldfastError)) return error;
    switch (error.code) {
      case "in-progress":
        return mailError(this.name, error.code, "another call is sending under the key", {
          delivery: "unknown", // by the other call
          retryable: true,
          ...(error.retryAfter !== undefined && { retryAfter: error.retryAfter }),
          cause: error,
        });
      case "fingerprint-mismatch":
        return mailError(this.name, error.code, "the idempotency key was used for another message", {
          cause: error,
        });
      default:
        return mailError(this.name, error.code, "its idempotency could not be asked", {
          retryable: error.retryable,
          cause: error,
        });
    }
  }
}

function leftUnknown(mailer: string, error: unknown): boolean {
  return asMailError(mailer, error).delivery === "unknown";
}
