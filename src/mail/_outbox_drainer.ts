/** One run over an outbox: takes the messages that are due, sends them, and notes the outcomes. */
import { HoldfastError } from "../errors.ts";
import { Lease } from "../lease.ts";
import { randomToken } from "../secret.ts";
import { repeatable } from "../store/call_id.ts";
import type { Fields, Transition } from "../store/transition.ts";
import { faultClass } from "../fault_class.ts";
import { backoff } from "./_combinator.ts";
import { bucketKey, mailKey, type OutboxSettings } from "./_outbox_settings.ts";
import { unpackMessage } from "./_packed_message.ts";
import { asMailError } from "./outcome.ts";
import { MailError, mailError } from "./mail_error.ts";
import type { Receipt } from "./mailer.ts";
import { type PreparedMessage, prepareMessage } from "./message.ts";
import type { DrainReport } from "./outbox.ts";
import { beginMail, claimMail, deferMail, extendMail, sentMail, settleMail } from "./outbox_transitions.ts";

/** Messages of a bucket that one worker takes at once. */
const BATCH = 10;

/** Attempts to write a note before the store counts as down. */
const NOTES = 5;

/** A message under lease. */
interface Job {
  readonly id: string;
  readonly bucket: string;
  readonly owner: string;
  readonly attempt: number;
  readonly known: number;
  /** The number of this attempt since the count began. */
  readonly count: number;
}

/** Runs once. */
export class Drainer {
  readonly #settings: OutboxSettings;
  readonly #signal: AbortSignal | undefined;
  readonly #report = {
    sent: 0,
    repeated: 0,
    rejected: 0,
    deferred: 0,
    retried: 0,
    dead: 0,
    inDoubt: 0,
    expired: 0,
  };
  readonly #next = new Map<string, number>();
  #left: number;
  #failed = false;

  constructor(settings: OutboxSettings, signal: AbortSignal | undefined, limit: number) {
    this.#settings = settings;
    this.#signal = signal;
    this.#left = limit;
  }

  async run(concurrency: number): Promise<DrainReport> {
    const buckets = Array.from({ length: this.#settings.buckets }, (_, n) => bucketKey(n));
    // Several drainers should not all begin at the same one.
    const first = Math.floor(Math.random() * buckets.length);
    const queue = [...buckets.slice(first), ...buckets.slice(0, first)];
    const worker = async () => {
      for (let bucket = this.#go() && queue.shift(); bucket; bucket = this.#go() && queue.shift()) {
        if (await this.#batch(bucket)) queue.push(bucket);
      }
    };
    const workers = Array.from({ length: Math.min(concurrency, buckets.length) }, async () => {
      try {
        await worker();
      } catch (error) {
        this.#failed = true;
        throw error;
      }
    });
    const ends = await Promise.allSettled(workers);
    for (const end of ends) if (end.status === "rejected") throw end.reason;
    // A bucket that was not looked at may hold anything.
    const waits = queue.length > 0 ? [0] : [...this.#next.values()];
    return { ...this.#report, nextAfter: waits.length === 0 ? undefined : Math.min(...waits) };
  }

  #go(): boolean {
    return this.#left > 0 && !this.#failed && !this.#signal?.aborted;
  }

  /** Takes some messages of a bucket; answers whether there were any. */
  async #batch(bucket: string): Promise<boolean> {
    const { clock, store, lease: length } = this.#settings;
    const owner = randomToken(12);
    const limit = Math.min(BATCH, this.#left);
    this.#left -= limit; // before the await: other workers count too
    const sentAt = clock.monotonic();
    let output: Fields;
    try {
      output = await this.#note(claimMail, bucket, { owner, limit: String(limit), lease: String(length) });
    } catch (error) {
      this.#left += limit;
      throw error;
    }
    const jobs = Object.entries(output).flatMap(([field, value]): Job[] => {
      if (!field.startsWith("m:")) return [];
      const [attempt, known, base] = value.split(":").map(Number) as [number, number, number];
      return [{ id: field.slice(2), bucket, owner, attempt, known, count: attempt - base }];
    });
    this.#left += limit - jobs.length;
    this.#report.expired += Number(output.expired);
    if (output.next === undefined) this.#next.delete(bucket);
    else this.#next.set(bucket, Number(output.next));
    if (jobs.length === 0) return false;
    const lease = new Lease({
      clock,
      length,
      sentAt,
      renew: true,
      extend: async (length, signal) => {
        const input = { owner, lease: String(length) };
        return (await store.transact(extendMail, bucket, input, { signal })).held !== "0";
      },
      lost: (why) => new HoldfastError("lock-lost", `Cannot go on with the messages as ${why}`),
    });
    try {
      for (const job of jobs) {
        if (!lease.held) break; // another drainer may have them by now
        if (this.#failed || this.#signal?.aborted) await this.#settle(job, "w", "", { known: "back" });
        else await this.#deliver(job);
      }
    } finally {
      lease.end();
    }
    return true;
  }

  async #deliver(job: Job): Promise<void> {
    const { mailer, resend, attempts } = this.#settings;
    const harmless = resend || mailer.deduplicates;
    const begun = await this.#note(beginMail, mailKey(job.id), {
      owner: job.owner,
      a: String(job.attempt),
      k: String(job.known),
      hold: harmless ? "0" : "1",
    });
    const unsure = begun.unsure === "1";
    switch (begun.state) {
      case "stale":
        return;
      case "sent": // and its drainer ended before it settled the lease
        return await this.#settle(job, "gone", "");
      case "gone":
        this.#report.expired++;
        return await this.#settle(job, "gone", "");
      case "doubt":
        return await this.#giveUp(job, true, "in-doubt");
    }
    // Only crashes lead beyond the last attempt: each was counted when it was taken.
    if (job.count > attempts) return await this.#giveUp(job, unsure, "aborted");
    const outcome = await this.#send(begun);
    if (outcome instanceof MailError) await this.#refused(job, outcome, unsure, harmless);
    else await this.#taken(job, begun, outcome, unsure);
  }

  /** The mailer took the message, for some recipients at least. */
  async #taken(job: Job, begun: Fields, receipt: Receipt, unsure: boolean): Promise<void> {
    const { mailer, remember, resend, attempts } = this.#settings;
    const { rejected = [], deferred = [], unknown = [] } = receipt;
    this.#report.rejected += rejected.length;
    const later = [...mailer.selectsRecipients ? deferred.map(({ address }) => address) : [], ...unknown];
    if (later.length > 0) {
      const left = JSON.stringify(later);
      await this.#note(deferMail, mailKey(job.id), { owner: job.owner, a: String(job.attempt), left });
      if (unknown.length > 0 && !resend) return await this.#giveUp(job, true, "in-doubt");
      if (job.count >= attempts) return await this.#giveUp(job, unknown.length > 0, "message-rejected");
      this.#report.deferred += later.length;
      return await this.#again(job, "message-rejected", undefined, true);
    }
    this.#report.rejected += deferred.length; // this mailer cannot send to them alone
    await this.#note(sentMail, mailKey(job.id), { fp: begun.fp!, remember: String(remember) });
    this.#report.sent++;
    if (unsure) this.#report.repeated++;
    await this.#settle(job, "gone", "");
  }

  /** The mailer did not take the message, or it is unknown whether it did. */
  async #refused(job: Job, error: MailError, unsure: boolean, harmless: boolean): Promise<void> {
    const { resend, attempts } = this.#settings;
    const unknown = unsure || error.delivery === "unknown";
    // A misconfiguration is not the message's: it stays queued until it is mended, or until its attempts are
    // used up.
    const misconfigured = faultClass(error) === "misconfiguration" && error.code !== "unsupported";
    if (misconfigured) this.#fault(error);
    const again = error.retryable || misconfigured || (resend && error.delivery === "unknown");
    if (!again || (unknown && !harmless) || job.count >= attempts) {
      return await this.#giveUp(job, unknown, error.code);
    }
    await this.#again(job, error.code, error.retryAfter, !unknown);
  }

  #fault(error: MailError): void {
    try {
      this.#settings.onFault?.(error);
    } catch {
      // as the option says
    }
  }

  /**
   * Leaves the message for another attempt after a delay; `known` means that nothing is unknown after this
   * one.
   */
  async #again(job: Job, code: string, retryAfter: number | undefined, known: boolean): Promise<void> {
    this.#report.retried++;
    const delay = backoff(job.count, this.#settings.delay, this.#settings.maxDelay, retryAfter);
    this.#next.set(job.bucket, Math.min(delay, this.#next.get(job.bucket) ?? Infinity));
    await this.#settle(job, "w", code, { delay: String(delay), known: known ? "1" : "0" });
  }

  /** Sends a message, to the recipients that are left. */
  async #send(begun: Fields): Promise<Receipt | MailError> {
    const { mailer, attemptTimeout } = this.#settings;
    let message: PreparedMessage;
    let recipients: readonly string[] | undefined;
    try {
      message = prepareMessage(unpackMessage(begun));
      if (begun.left !== undefined) recipients = JSON.parse(begun.left) as readonly string[];
    } catch (cause) {
      return mailError(mailer.name, "corrupt-record", "the stored message cannot be read", { cause });
    }
    try {
      const options = {
        idempotencyKey: begun.key,
        timeout: attemptTimeout,
        ...(recipients && { recipients }),
      };
      return await mailer.send(message, options);
    } catch (error) {
      return asMailError(mailer.name, error);
    }
  }

  async #giveUp(job: Job, unknown: boolean, code: string): Promise<void> {
    if (unknown) this.#report.inDoubt++;
    else this.#report.dead++;
    await this.#settle(job, unknown ? "d" : "x", code);
  }

  async #settle(job: Job, to: string, code: string, more: Fields = {}): Promise<void> {
    const { id, owner } = job;
    await this.#note(settleMail, job.bucket, { id, owner, to, code, delay: "0", known: "0", ...more });
  }

  /** Runs a transition, again after a passing fault of the store: all of them may be repeated. */
  async #note(transition: Transition, key: string, input: Fields): Promise<Fields> {
    const { store, clock } = this.#settings;
    const call = repeatable();
    for (let attempt = 1;; attempt++) {
      try {
        return await store.transact(transition, key, input, call);
      } catch (error) {
        if (!(error instanceof HoldfastError && error.retryable) || attempt === NOTES) throw error;
        await clock.sleep(backoff(attempt, 50, 1000, error.retryAfter));
      }
    }
  }
}
