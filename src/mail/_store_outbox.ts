/** The outbox on an atomic store: its methods as transitions. */
import { toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { randomToken, sha256 } from "../secret.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import type { Fields } from "../store/transition.ts";
import { checkInteger, checkOptionNames, type OptionNames } from "../validate.ts";
import { prepareCall } from "./_combinator.ts";
import { Drainer } from "./_outbox_drainer.ts";
import { readEntry } from "./_outbox_entry.ts";
import { bucketKey, bucketOf, mailKey, MOST_IN_BUCKET, type OutboxSettings } from "./_outbox_settings.ts";
import { fingerprintOf, packMessage, unpackMessage } from "./_packed_message.ts";
import { type MailError, mailError, unsupported } from "./mail_error.ts";
import type { SendOptions } from "./mailer.ts";
import { type Message, type PreparedMessage, prepareMessage } from "./message.ts";
import type { DrainOptions, DrainReport, Outbox, OutboxEntry, OutboxReceipt } from "./outbox.ts";
import { addMail, putMail, readMail, resolveMail } from "./outbox_transitions.ts";

const DRAIN = { signal: true, limit: true, concurrency: true } satisfies OptionNames<DrainOptions>;
const CALL = { signal: true } satisfies OptionNames<CallOptions>;
const LIST = { signal: true, state: true } as const;
const STATES = { w: "queued", l: "sending", d: "in-doubt", x: "dead" } as const;

/** The class behind `outbox`. */
export class StoreOutbox implements Outbox {
  readonly name = "outbox";
  readonly deduplicates = true;
  readonly #settings: OutboxSettings;

  constructor(settings: OutboxSettings) {
    this.#settings = settings;
  }

  async send(message: Message, options: SendOptions = {}): Promise<OutboxReceipt> {
    const { retention, buckets, store } = this.#settings;
    const prepared = prepareCall(this.name, message, options);
    if (options.recipients) throw unsupported(this.name, "sending to some of the recipients");
    const key = options.idempotencyKey ?? randomToken(16);
    const id = (await sha256(key)).slice(0, 22);
    const due = { due: String(prepared.sendAt?.getTime() ?? 0), keep: String(retention) };
    const packed = await packMessage(prepared, this.name);
    const input = { ...packed, ...due, key, fp: await fingerprintOf(prepared, this.name) };
    const length = Object.values(input).reduce((sum, text) => sum + text.length, 200);
    if (length > store.limits.maxValueLength) throw this.#tooLarge();
    const call = { signal: callSignal(options) };
    const put = await this.#stored(options, false, () => store.transact(putMail, mailKey(id), input, call));
    if (put.state === "mismatch") {
      throw mailError(this.name, "fingerprint-mismatch", "the idempotency key was used for another message");
    }
    if (put.state === "sent") return { mailer: this.name, id, state: "sent" };
    const entry = { id, most: String(MOST_IN_BUCKET), ...due };
    const at = bucketKey(bucketOf(id, buckets));
    const added = await this.#stored(options, true, () => store.transact(addMail, at, entry, call));
    if (added.state === "full") {
      throw mailError(this.name, "store-full", `${MOST_IN_BUCKET} messages wait in its bucket`, {
        retryable: true,
      });
    }
    const state = added.state === "d" || added.state === "x" ? STATES[added.state] : "queued";
    return { mailer: this.name, id, state };
  }

  async drain(options: DrainOptions = {}): Promise<DrainReport> {
    checkOptionNames("drain", options, DRAIN);
    const { signal, limit = Infinity, concurrency = 5 } = options;
    if (limit !== Infinity) checkInteger("drain", "limit", limit);
    checkInteger("drain", "concurrency", concurrency);
    return await new Drainer(this.#settings, signal, limit).run(concurrency);
  }

  async *list(
    options: CallOptions & { readonly state?: OutboxEntry["state"] } = {},
  ): AsyncIterable<OutboxEntry> {
    checkOptionNames("list the outbox", options, LIST);
    const { signal, state: wanted } = options;
    for (let n = 0; n < this.#settings.buckets; n++) {
      const record = await this.#settings.store.transact(readMail, bucketKey(n), {}, { signal });
      for (const [id, text] of Object.entries(record)) {
        const { s, t, a, b, c } = readEntry(text);
        const state = STATES[s as keyof typeof STATES];
        if (wanted !== undefined && state !== wanted) continue;
        yield { id, state, at: t, attempts: a - b, code: c === "" ? undefined : c };
      }
    }
  }

  async read(id: string, options?: CallOptions): Promise<PreparedMessage | undefined> {
    checkOptionNames("read the outbox", options, CALL);
    const fields = await this.#settings.store.transact(readMail, mailKey(id), {}, options);
    return fields.p === undefined ? undefined : prepareMessage(unpackMessage(fields));
  }

  async requeue(id: string, options?: CallOptions): Promise<boolean> {
    checkOptionNames("requeue", options, CALL);
    return await this.#resolve(id, "w", options);
  }

  async discard(id: string, options?: CallOptions): Promise<boolean> {
    checkOptionNames("discard", options, CALL);
    if (!await this.#resolve(id, "gone", options)) return false;
    await this.#settings.store.delete(mailKey(id), options);
    return true;
  }

  async #resolve(id: string, to: "w" | "gone", options: CallOptions | undefined): Promise<boolean> {
    const { store, buckets } = this.#settings;
    const output = await store.transact(resolveMail, bucketKey(bucketOf(id, buckets)), { id, to }, options);
    return output.done === "1";
  }

  /**
   * Runs a step of queueing. A message is never sent before the index has it: only that step can leave it
   * unknown.
   */
  async #stored(options: SendOptions, last: boolean, step: () => Promise<Fields>): Promise<Fields> {
    try {
      return await step();
    } catch (error) {
      const { signal, idempotencyKey } = options;
      const ours = error instanceof HoldfastError;
      const delivery = last && (!ours || error.ambiguous) ? "unknown" : "not-sent";
      if (signal?.aborted) {
        throw mailError(this.name, "aborted", "the signal was aborted", { delivery, cause: error });
      }
      if (!ours && !isTimeout(error)) throw error;
      if (ours && error.code === "value-too-large") throw this.#tooLarge(error);
      throw mailError(this.name, ours ? error.code : "timeout", "its store failed", {
        delivery,
        phase: "body",
        // Without the caller's own key a repetition would be another message.
        retryable: (!ours || error.retryable) && (delivery === "not-sent" || idempotencyKey !== undefined),
        cause: error,
      });
    }
  }

  #tooLarge(cause?: unknown): MailError {
    const { engine, limits } = this.#settings.store;
    return mailError(this.name, "message-too-large", `${engine} holds at most ${limits.maxValueLength}`, {
      cause,
    });
  }
}

function callSignal({ signal, timeout }: SendOptions): AbortSignal | undefined {
  if (timeout === undefined) return signal;
  const late = AbortSignal.timeout(toMilliseconds(timeout, "timeout"));
  return signal ? AbortSignal.any([signal, late]) : late;
}

function isTimeout(error: unknown): boolean {
  return error instanceof DOMException && error.name === "TimeoutError";
}
