/** One run over an outbox: takes the items that are due, delivers them, and notes the outcomes. */
import { backoff } from "../backoff.ts";
import { HoldfastError } from "../errors.ts";
import { Lease } from "../lease.ts";
import { randomToken } from "../secret.ts";
import { repeatable } from "../store/call_id.ts";
import type { Fields, Transition } from "../store/transition.ts";
import type { Delivery, Outcome } from "./delivery.ts";
import { bucketKey, itemKey, type OutboxSettings } from "./outbox_settings.ts";
import {
  beginItem,
  claimItems,
  deferItem,
  extendItems,
  finishItem,
  settleItem,
} from "./outbox_transitions.ts";

/** The work of a run, in items. */
export interface Drained {
  readonly done: number;
  /** Items of `done` that had been tried before with unknown outcome. */
  readonly repeated: number;
  /** Parts of items that wait for another attempt after a partial one. */
  readonly left: number;
  readonly retried: number;
  readonly dead: number;
  readonly inDoubt: number;
  readonly expired: number;
  /** Milliseconds until more is due, 0 when something is now; `undefined` when nothing waits. */
  readonly nextAfter: number | undefined;
}

/** Items of a bucket that one worker takes at once; more where it would not fill its part of the slots. */
const BATCH = 10;

/** Attempts to write a note before the store counts as down. */
const NOTES = 5;

/** An item under lease. */
interface Job {
  readonly id: string;
  readonly bucket: string;
  readonly owner: string;
  readonly attempt: number;
  readonly known: number;
  /** The number of this attempt since the count began. */
  readonly count: number;
}

/** A number of places for work at once; what finds none waits, in the order it came. */
class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async run(work: () => Promise<void>): Promise<void> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      await work();
    } finally {
      // A place is handed on, so that nothing that comes later takes it first.
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }
}

/** Runs once. */
export class Drainer {
  readonly #settings: OutboxSettings;
  readonly #delivery: Delivery;
  readonly #signal: AbortSignal | undefined;
  readonly #report = {
    done: 0,
    repeated: 0,
    left: 0,
    retried: 0,
    dead: 0,
    inDoubt: 0,
    expired: 0,
  };
  readonly #next = new Map<string, number>();
  readonly #slots: Slots;
  /** The workers that run; no more than there are buckets, as each takes the items of one. */
  readonly #workers: number;
  readonly #batchSize: number;
  #left: number;
  #failed = false;

  constructor(
    settings: OutboxSettings,
    delivery: Delivery,
    signal: AbortSignal | undefined,
    limit: number,
    concurrency: number,
  ) {
    this.#settings = settings;
    this.#delivery = delivery;
    this.#signal = signal;
    this.#left = limit;
    this.#workers = Math.min(concurrency, settings.buckets);
    this.#batchSize = Math.max(BATCH, Math.ceil(concurrency / this.#workers));
    this.#slots = new Slots(concurrency);
  }

  async run(): Promise<Drained> {
    const buckets = Array.from({ length: this.#settings.buckets }, (_, n) => bucketKey(n));
    // Several drainers should not all begin at the same one.
    const first = Math.floor(Math.random() * buckets.length);
    const queue = [...buckets.slice(first), ...buckets.slice(0, first)];
    const worker = async () => {
      for (let bucket = this.#go() && queue.shift(); bucket; bucket = this.#go() && queue.shift()) {
        if (await this.#batch(bucket)) queue.push(bucket);
      }
    };
    const workers = Array.from({ length: this.#workers }, async () => {
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

  /** Takes some items of a bucket; answers whether there were any. */
  async #batch(bucket: string): Promise<boolean> {
    const { clock, store, lease: length } = this.#settings;
    const owner = randomToken(12);
    const limit = Math.min(this.#batchSize, this.#left);
    this.#left -= limit; // before the await: other workers count too
    const sentAt = clock.monotonic();
    let output: Fields;
    try {
      output = await this.#note(claimItems, bucket, { owner, limit: String(limit), lease: String(length) });
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
        return (await store.transact(extendItems, bucket, input, { signal })).held !== "0";
      },
      // Ambiguous: what was being delivered when the lease ended may have been delivered.
      lost: (why) =>
        new HoldfastError("lock-lost", `Cannot go on with the items as ${why}`, { ambiguous: true }),
    });
    await this.#deliverAll(jobs, lease);
    return true;
  }

  /**
   * Delivers the items of a batch, as many at once as there are slots for; the lease ends after the last one.
   */
  async #deliverAll(jobs: readonly Job[], lease: Lease): Promise<void> {
    let broken = false;
    const ends = await Promise.allSettled(jobs.map((job) =>
      this.#slots.run(async () => {
        if (broken || !lease.held) return; // without the lease another drainer may have them by now
        try {
          if (this.#failed || this.#signal?.aborted) await this.#settle(job, "w", "", { known: "back" });
          else await this.#deliver(job, lease);
        } catch (error) {
          broken = true;
          throw error;
        }
      })
    ));
    lease.end();
    for (const end of ends) if (end.status === "rejected") throw end.reason;
  }

  async #deliver(job: Job, lease: Lease): Promise<void> {
    const begun = await this.#note(beginItem, itemKey(job.id), {
      owner: job.owner,
      attempt: String(job.attempt),
      known: String(job.known),
      hold: this.#delivery.repeats ? "0" : "1",
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
    if (job.count > this.#settings.attempts) return await this.#giveUp(job, unsure, "aborted");
    const attempt = { id: job.id, number: job.count, signal: () => lease.signal };
    await this.#conclude(job, begun, await this.#delivery.deliver(begun, attempt), unsure);
  }

  /** Notes how an attempt ended: first with the item, then with its bucket, which gives the lease back. */
  async #conclude(job: Job, begun: Fields, outcome: Outcome, unsure: boolean): Promise<void> {
    if (outcome.state === "done") {
      const remember = String(this.#settings.remember);
      await this.#note(finishItem, itemKey(job.id), { fingerprint: begun.fingerprint!, remember });
      this.#report.done++;
      if (unsure) this.#report.repeated++;
      return await this.#settle(job, "gone", "");
    }
    const exhausted = job.count >= this.#settings.attempts;
    if (outcome.state === "partial") {
      const { left, unknown, again, code } = outcome;
      const note = { owner: job.owner, attempt: String(job.attempt), left: JSON.stringify(left) };
      await this.#note(deferItem, itemKey(job.id), note);
      if (!again || exhausted) return await this.#giveUp(job, unknown, again ? code : "in-doubt");
      this.#report.left += left.length;
      return await this.#again(job, code, undefined, true);
    }
    const unknown = unsure || outcome.unknown;
    if (!outcome.again || (unknown && !this.#delivery.repeats) || exhausted) {
      return await this.#giveUp(job, unknown, outcome.code);
    }
    await this.#again(job, outcome.code, outcome.retryAfter, !unknown);
  }

  /**
   * Leaves the item for another attempt after a delay; `known` means that nothing is unknown after this one.
   */
  async #again(job: Job, code: string, retryAfter: number | undefined, known: boolean): Promise<void> {
    this.#report.retried++;
    const delay = backoff(job.count, this.#settings.delay, this.#settings.maxDelay, retryAfter);
    this.#next.set(job.bucket, Math.min(delay, this.#next.get(job.bucket) ?? Infinity));
    await this.#settle(job, "w", code, { delay: String(delay), known: known ? "1" : "0" });
  }

  async #giveUp(job: Job, unknown: boolean, code: string): Promise<void> {
    if (unknown) this.#report.inDoubt++;
    else this.#report.dead++;
    await this.#settle(job, unknown ? "d" : "x", code);
  }

  async #settle(job: Job, to: string, code: string, more: Fields = {}): Promise<void> {
    const { id, owner } = job;
    await this.#note(settleItem, job.bucket, { id, owner, to, code, delay: "0", known: "0", ...more });
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
