/** One run over an outbox: takes what is due, sends it, notes what became of it. */
import { HoldfastError } from "../errors.ts";
import { randomToken } from "../secret.ts";
import type { Fields, Transition } from "../store/transition.ts";
import { backoff } from "./_combinator.ts";
import { bucketKey, mailKey, type OutboxSettings } from "./_outbox_settings.ts";
import { unpackMessage } from "./_packed_message.ts";
import { asMailError } from "./outcome.ts";
import { type MailError, mailError } from "./mail_error.ts";
import { type PreparedMessage, prepareMessage } from "./message.ts";
import type { DrainReport } from "./outbox.ts";
import { beginMail, claimMail, extendMail, sentMail, settleMail } from "./outbox_transitions.ts";

/** How many messages of a bucket one worker takes at once. */
const BATCH = 10;

/** How often a note is written again before the store counts as down. */
const NOTES = 5;

/** A message under lease. */
interface Job {
  readonly id: string;
  readonly bucket: string;
  readonly owner: string;
  readonly attempt: number;
  readonly known: number;
  /** Which attempt this is since the count began. */
  readonly count: number;
}

/** Messages of one bucket under one owner's lease. */
class Lease {
  readonly owner = randomToken(12);
  /** Until when nobody else has them, by this side's clock and told from before the store was asked. */
  until = 0;
}

/** Runs once. */
export class Drainer {
  readonly #settings: OutboxSettings;
  readonly #signal: AbortSignal | undefined;
  readonly #report = { sent: 0, repeated: 0, rejected: 0, retried: 0, dead: 0, inDoubt: 0, expired: 0 };
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
    const { clock, lease: length } = this.#settings;
    const lease = new Lease();
    const limit = Math.min(BATCH, this.#left);
    this.#left -= limit; // before the await: other workers count too
    lease.until = clock.monotonic() + length;
    let output: Fields;
    try {
      output = await this.#note(claimMail, bucket, {
        owner: lease.owner,
        limit: String(limit),
        lease: String(length),
      });
    } catch (error) {
      this.#left += limit;
      throw error;
    }
    const jobs = Object.entries(output).flatMap(([field, value]): Job[] => {
      if (!field.startsWith("m:")) return [];
      const [attempt, known, base] = value.split(":").map(Number) as [number, number, number];
      return [{ id: field.slice(2), bucket, owner: lease.owner, attempt, known, count: attempt - base }];
    });
    this.#left += limit - jobs.length;
    this.#report.expired += Number(output.expired);
    if (output.next === undefined) this.#next.delete(bucket);
    else this.#next.set(bucket, Number(output.next));
    if (jobs.length === 0) return false;
    const over = new AbortController();
    const beating = this.#heartbeat(bucket, lease, over.signal);
    try {
      for (const job of jobs) {
        if (clock.monotonic() >= lease.until) break; // somebody else has them by now
        if (this.#failed || this.#signal?.aborted) await this.#settle(job, "w", "", { known: "back" });
        else await this.#deliver(job);
      }
    } finally {
      over.abort();
      await beating;
    }
    return true;
  }

  async #heartbeat(bucket: string, lease: Lease, over: AbortSignal): Promise<void> {
    const { clock, store, lease: length } = this.#settings;
    for (;;) {
      try {
        await clock.sleep(length / 3, over);
      } catch {
        return;
      }
      const now = clock.monotonic();
      try {
        const input = { owner: lease.owner, lease: String(length) };
        const { held } = await store.transact(extendMail, bucket, input, { signal: over });
        if (held === "0") return void (lease.until = -Infinity);
        lease.until = now + length;
      } catch {
        // the lease ends by itself, unless the next beat is heard
      }
    }
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
      case "sent": // and its drainer died before it could say so here
        return await this.#settle(job, "gone", "");
      case "gone":
        this.#report.expired++;
        return await this.#settle(job, "gone", "");
      case "doubt":
        return await this.#giveUp(job, true, "in-doubt");
    }
    // Only crashes lead beyond the last attempt: each was counted when it was taken.
    if (job.count > attempts) return await this.#giveUp(job, unsure, "aborted");
    const error = await this.#send(begun);
    if (error === undefined) {
      await this.#note(sentMail, mailKey(job.id), {
        fp: begun.fp!,
        remember: String(this.#settings.remember),
      });
      this.#report.sent++;
      if (unsure) this.#report.repeated++;
      return await this.#settle(job, "gone", "");
    }
    const unknown = unsure || error.delivery === "unknown";
    const again = error.retryable || (resend && error.delivery === "unknown");
    if (!again || (unknown && !harmless) || job.count >= attempts) {
      return await this.#giveUp(job, unknown, error.code);
    }
    this.#report.retried++;
    const delay = backoff(job.count, this.#settings.delay, this.#settings.maxDelay, error.retryAfter);
    this.#next.set(job.bucket, Math.min(delay, this.#next.get(job.bucket) ?? Infinity));
    await this.#settle(job, "w", error.code, { delay: String(delay), known: unknown ? "0" : "1" });
  }

  /** Sends a message; answers why it failed. */
  async #send(begun: Fields): Promise<MailError | undefined> {
    const { mailer, timeout } = this.#settings;
    let message: PreparedMessage;
    try {
      message = prepareMessage(unpackMessage(begun));
    } catch (cause) {
      return mailError(mailer.name, "corrupt-record", "the stored message cannot be read", { cause });
    }
    try {
      const { rejected = [] } = await mailer.send(message, { idempotencyKey: begun.key, timeout });
      this.#report.rejected += rejected.length;
      return undefined;
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

  /** Every transition here may be repeated, so a store that stumbles is asked again. */
  async #note(transition: Transition, key: string, input: Fields): Promise<Fields> {
    const { store, clock } = this.#settings;
    for (let attempt = 1;; attempt++) {
      try {
        return await store.transact(transition, key, input);
      } catch (error) {
        if (!(error instanceof HoldfastError && error.retryable) || attempt === NOTES) throw error;
        await clock.sleep(backoff(attempt, 50, 1000, error.retryAfter));
      }
    }
  }
}
