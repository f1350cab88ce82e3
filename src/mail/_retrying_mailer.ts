import type { Clock } from "../clock.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { randomToken } from "../secret.ts";
import { BulkGate, type Turn } from "./_bulk_gate.ts";
import { settledBatch } from "./_bulk_run.ts";
import { noteWrapper, openBulk, sendBy } from "./_inner_mailer.ts";
import { backoff } from "../backoff.ts";
import { aborted, prepareCall, restated } from "./_combinator.ts";
import { MailError, mailError } from "./mail_error.ts";
import type { BatchOptions, BulkSender, Mailer, Receipt, SendOptions } from "./mailer.ts";
import type { Message, PreparedMessage } from "./message.ts";
import { abortReason, asMailError } from "./outcome.ts";
import { deferredOf, mergeFailure, mergeReceipts } from "./partial.ts";

/** The options of `retrying`, all decided; times in milliseconds. */
export interface RetrySettings {
  readonly attempts: number;
  readonly delay: number;
  readonly maxDelay: number;
  readonly timeout: number;
  readonly attemptTimeout: Duration | undefined;
  readonly clock: Clock;
}

type Outcome = Receipt | MailError;

/** The mailer behind `retrying`. */
export class Retrying implements Mailer {
  readonly name: string;
  readonly deduplicates: boolean;
  readonly selectsRecipients: boolean;
  readonly #mailer: Mailer;
  readonly #settings: RetrySettings;

  constructor(mailer: Mailer, settings: RetrySettings) {
    noteWrapper(this);
    this.name = mailer.name;
    this.deduplicates = mailer.deduplicates;
    this.selectsRecipients = mailer.selectsRecipients ?? false;
    this.#mailer = mailer;
    this.#settings = settings;
  }

  async send(message: Message, options: SendOptions = {}): Promise<Receipt> {
    const prepared = prepareCall(this.name, message, options);
    const call = new Call(this.name, this.#settings, options);
    try {
      return await this.#deliver(prepared, options, call, undefined);
    } finally {
      call.end();
    }
  }

  openBulk(): BulkSender {
    const inner = openBulk(this.#mailer);
    const gate = new BulkGate(this.#settings.clock);
    return {
      size: inner.size,
      repeatable: inner.repeatable,
      send: (messages, keys, options) => {
        const batch = this.#batch(inner, gate, messages, keys, options);
        return messages.map(async (_, i) => {
          const outcome = (await batch)[i]!;
          if (outcome instanceof MailError) throw outcome;
          return outcome;
        });
      },
      close: async () => await inner.close?.(),
    };
  }

  /** Attempts until all recipients have the message, or no further attempt makes sense. */
  async #deliver(
    message: PreparedMessage,
    options: SendOptions,
    call: Call,
    before: Receipt | undefined,
  ): Promise<Receipt> {
    const idempotencyKey = options.idempotencyKey ?? randomToken(16);
    let receipt = before;
    for (let attempt = before ? 2 : 1;; attempt++) {
      const recipients = receipt ? deferredOf(receipt) : options.recipients;
      const outcome = await this.#attempt(message, {
        ...(recipients && { recipients }),
        signal: call.signal,
        timeout: this.#settings.attemptTimeout,
        idempotencyKey,
      });
      const error = outcome instanceof MailError ? outcome : undefined;
      if (error && receipt === undefined) {
        call.note(error);
        const again = error.retryable && (!call.unsure || this.deduplicates);
        if (!again || !await call.pause(attempt, error)) throw call.last(error, options);
        continue;
      }
      // From here on some recipients have the message: the receipt tells the state of the others.
      if (error) receipt = mergeFailure(receipt!, error);
      else receipt = receipt ? mergeReceipts(receipt, outcome as Receipt) : outcome as Receipt;
      const left = deferredOf(receipt).length > 0 && this.selectsRecipients && (error?.retryable ?? true);
      if (!left || !await call.pause(attempt, error)) return receipt;
    }
  }

  async #attempt(message: Message, options: SendOptions): Promise<Outcome> {
    try {
      return await sendBy(this.#mailer, message, options);
    } catch (error) {
      if (error instanceof TypeError || error instanceof RangeError) throw error; // the caller's own
      return asMailError(this.name, error);
    }
  }

  /** Sends a batch, and what failed of it in smaller ones; one outcome per message, in order. */
  async #batch(
    inner: BulkSender,
    gate: BulkGate,
    messages: readonly PreparedMessage[],
    given: readonly (string | undefined)[],
    options: BatchOptions,
  ): Promise<Outcome[]> {
    const keys = given.map((key) => key ?? randomToken(16));
    const outcomes: Outcome[] = [];
    let turn: Turn | undefined;
    let call: Call | undefined;
    try {
      turn = await gate.enter(options.signal);
      call = new Call(this.name, this.#settings, options);
      const requestOptions = { signal: call.signal, timeout: this.#settings.attemptTimeout };
      let pending: readonly number[] = messages.map((_, i) => i);
      for (let attempt = 1; pending.length > 0;) {
        const sent = await settledBatch(
          this.name,
          pending.length,
          () => inner.send(pending.map((i) => messages[i]!), pending.map((i) => keys[i]!), requestOptions),
        );
        pending.forEach((i, n) => outcomes[i] = laterOutcome(outcomes[i], sent[n]!));
        pending = repeatOf(pending, sent, inner.repeatable === true && this.deduplicates);
        const errors = pending.map((i) => outcomes[i]).filter((outcome) => outcome instanceof MailError);
        const limited = errors.length > 0 && errors.every(({ code }) => code === "rate-limited");
        const retryAfter = Math.max(0, ...errors.map((error) => error.retryAfter ?? 0));
        const wait = call.delay(attempt, retryAfter);
        if (!limited && attempt >= this.#settings.attempts || !call.hasTimeFor(wait)) break;
        if (!limited) {
          attempt++;
          await this.#settings.clock.sleep(wait, call.signal);
          continue;
        }
        gate.limit(wait);
        if (turn.alone) await gate.open(call.signal);
        else turn = await gate.enter(call.signal);
      }
    } catch (error) {
      // Only the waits reject: a message without an outcome was not sent.
      for (let i = 0; i < messages.length; i++) outcomes[i] ??= this.#ended(options, error);
    } finally {
      turn?.leave();
      call?.end();
    }
    const final = outcomes.map((outcome, i) =>
      outcome instanceof MailError && call ? call.last(outcome, { idempotencyKey: given[i] }) : outcome
    );
    return await this.#finish(messages, keys, final, options);
  }

  #ended({ signal }: BatchOptions, error: unknown): MailError {
    return signal?.aborted ? aborted(this.name, signal) : asMailError(this.name, error);
  }

  /** Sends to recipients that were deferred: one by one, as a batch knows no recipients of its own. */
  async #finish(
    messages: readonly PreparedMessage[],
    keys: readonly string[],
    outcomes: readonly Outcome[],
    options: BatchOptions,
  ): Promise<Outcome[]> {
    return await Promise.all(outcomes.map(async (outcome, i) => {
      const deferred = !(outcome instanceof MailError) && deferredOf(outcome).length > 0;
      if (!deferred || !this.selectsRecipients) return outcome;
      const call = new Call(this.name, this.#settings, options);
      try {
        if (!await call.pause(1, undefined)) return outcome;
        return await this.#deliver(messages[i]!, { idempotencyKey: keys[i]! }, call, outcome);
      } finally {
        call.end();
      }
    }));
  }
}

/**
 * The outcome of a message after one more attempt: a success stays, and an unknown delivery stays unknown
 * until one.
 */
function laterOutcome(before: Outcome | undefined, now: Outcome): Outcome {
  if (before === undefined || !(now instanceof MailError)) return now;
  if (!(before instanceof MailError)) return before;
  const lost = before.delivery === "unknown" && now.delivery === "not-sent";
  return lost ? restated(now, { delivery: "unknown", retryable: false }) : now;
}

/**
 * The messages of the next batch: all of the last one when an outcome is unknown and the batch may be
 * repeated as a whole, else those that were certainly not sent and may be.
 */
export function repeatOf(
  batch: readonly number[],
  outcomes: readonly Outcome[],
  repeatable: boolean,
): readonly number[] {
  const passing = ["backend-unavailable", "timeout", "in-progress"];
  const unknown = outcomes.some((outcome) =>
    outcome instanceof MailError && outcome.delivery === "unknown" && passing.includes(outcome.code)
  );
  if (unknown && repeatable) return batch;
  return batch.filter((_, n) => {
    const outcome = outcomes[n];
    return outcome instanceof MailError && outcome.delivery === "not-sent" && outcome.retryable;
  });
}

/** One call with all its attempts: its signal, its timeout, and whether an outcome was unknown. */
class Call {
  readonly #mailer: string;
  readonly #settings: RetrySettings;
  readonly #endsAt: number;
  readonly #over = new AbortController();
  readonly #late = new AbortController();
  readonly #stopListening: () => void;
  /** Ends the attempts: aborted by the caller, or at the timeout. */
  readonly signal: AbortSignal;
  /** Whether the outcome of an attempt was unknown: later ones say nothing of it. */
  unsure = false;

  constructor(mailer: string, settings: RetrySettings, { signal, timeout }: BatchOptions) {
    this.#mailer = mailer;
    this.#settings = settings;
    const limit = timeout === undefined ? settings.timeout : toMilliseconds(timeout, "timeout");
    this.#endsAt = settings.clock.monotonic() + limit;
    settings.clock.sleep(limit, this.#over.signal).then(() => this.#late.abort(), () => {});
    // By hand: `AbortSignal.any` would keep every call until the caller's signal ends.
    const ended = new AbortController();
    this.signal = ended.signal;
    const abort = () => ended.abort(signal?.aborted ? abortReason(signal) : undefined);
    this.#late.signal.addEventListener("abort", abort);
    signal?.addEventListener("abort", abort);
    if (signal?.aborted) abort();
    this.#stopListening = () => signal?.removeEventListener("abort", abort);
  }

  /** Notes what a failed attempt leaves behind. */
  note(error: MailError): void {
    this.unsure ||= error.delivery === "unknown";
  }

  /** The delay before the next attempt. */
  delay(attempt: number, retryAfter: number | undefined): number {
    return backoff(attempt, this.#settings.delay, this.#settings.maxDelay, retryAfter);
  }

  /** Whether an attempt after this wait would still be within the timeout. */
  hasTimeFor(wait: number): boolean {
    return !this.signal.aborted && this.#settings.clock.monotonic() + wait < this.#endsAt;
  }

  /** Waits for the next attempt; `false` when there is none. */
  async pause(attempt: number, error: MailError | undefined): Promise<boolean> {
    const { attempts, clock } = this.#settings;
    const wait = this.delay(attempt, error?.retryAfter);
    if (attempt >= attempts || !this.hasTimeFor(wait)) return false;
    try {
      await clock.sleep(wait, this.signal);
      return true;
    } catch {
      return false;
    }
  }

  /** The error for the caller, from that of the last attempt. */
  last(error: MailError, { idempotencyKey }: SendOptions): MailError {
    const ended = this.signal.aborted && error.retryable && !this.#late.signal.aborted;
    const own = ended
      ? mailError(this.#mailer, "aborted", "the signal was aborted", { cause: error })
      : error;
    const known = this.unsure && own.delivery === "not-sent" ? restated(own, { delivery: "unknown" }) : own;
    const late = this.#late.signal.aborted && known.code === "aborted"
      ? mailError(known.mailer, "timeout", "the time of all attempts is over", {
        delivery: known.delivery,
        phase: known.phase,
        cause: known,
      })
      : known;
    // A key that was drawn here is not the caller's: calling again would be another sending.
    const blind = this.unsure && late.retryable && idempotencyKey === undefined;
    return blind ? restated(late, { retryable: false }) : late;
  }

  /** Ends the timer and leaves the caller's signal. */
  end(): void {
    this.#over.abort();
    this.#stopListening();
  }
}
