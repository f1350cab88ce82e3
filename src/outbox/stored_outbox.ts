/** The records of an outbox on an atomic store: queues, lists and resolves items of any content. */
import { sha256 } from "../secret.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import type { Fields } from "../store/transition.ts";
import { checkInteger, checkOneOf, checkOptionNames, type OptionNames } from "../validate.ts";
import type { Delivery } from "./delivery.ts";
import { type Drained, Drainer } from "./drainer.ts";
import type { DrainOptions, OutboxEntry, OutboxState } from "./outbox.ts";
import { readEntry } from "./outbox_entry.ts";
import { bucketKey, bucketOf, itemKey, MOST_IN_BUCKET, type OutboxSettings } from "./outbox_settings.ts";
import { addItem, putItem, readItem, resolveItem } from "./outbox_transitions.ts";

const DRAIN = { signal: true, limit: true, concurrency: true } satisfies OptionNames<DrainOptions>;
const CALL = { signal: true } satisfies OptionNames<CallOptions>;
const LIST = { signal: true, state: true } as const;
const STATES = { w: "queued", l: "delivering", d: "in-doubt", x: "dead" } as const;

/** An item to be queued, as its record holds it. */
export interface NewItem {
  /** Recognises the item when it is queued again. */
  readonly key: string;
  /** A hash of the content: the same key with another one is refused. */
  readonly fingerprint: string;
  readonly content: Fields;
  /** The time before which it is not delivered, in milliseconds since the epoch; 0 for at once. */
  readonly due: number;
  /** The time for which it waits by the engine's clock, in milliseconds. */
  readonly delay?: number;
}

/** The result of queueing an item. */
export interface Queued {
  readonly id: string;
  readonly state: "queued" | "sent" | "dead" | "in-doubt" | "mismatch" | "full";
}

/** An error of a step tells whether the item may be queued: that is so once the last step was sent. */
export type RunStep = (last: boolean, step: () => Promise<Fields>) => Promise<Fields>;

/** An outbox of items of any kind; `Delivery` knows what they mean. */
export class StoredOutbox {
  readonly settings: OutboxSettings;

  constructor(settings: OutboxSettings) {
    this.settings = settings;
  }

  /** The id of the item with that key, in every outbox. */
  async idOf(key: string): Promise<string> {
    return (await sha256(key)).slice(0, 22);
  }

  /** Whether an item is too large for the engine. */
  isTooLarge({ content, key, fingerprint }: NewItem): boolean {
    // 200 for the times and the fields of an attempt.
    const length = Object.values(content).reduce((sum, text) => sum + text.length, 200);
    return length + key.length + fingerprint.length > this.settings.store.limits.maxValueLength;
  }

  /**
   * Queues an item in two steps: its record, then its entry in the index. An item is never delivered before
   * the index has it, so a failed first step leaves nothing that is delivered; repeated, both steps change
   * nothing.
   */
  async queue(item: NewItem, call: CallOptions, run: RunStep): Promise<Queued> {
    const { retention, buckets, store } = this.settings;
    const id = await this.idOf(item.key);
    const due = { due: String(item.due), delay: String(item.delay ?? 0), keep: String(retention) };
    const input = { ...item.content, ...due, key: item.key, fingerprint: item.fingerprint };
    const put = await run(false, () => store.transact(putItem, itemKey(id), input, call));
    if (put.state === "mismatch" || put.state === "sent") return { id, state: put.state };
    const entry = { id, most: String(MOST_IN_BUCKET), ...due };
    const added = await run(
      true,
      () => store.transact(addItem, bucketKey(bucketOf(id, buckets)), entry, call),
    );
    if (added.state === "full") return { id, state: "full" };
    return { id, state: added.state === "d" || added.state === "x" ? STATES[added.state] : "queued" };
  }

  /** Delivers what is due. */
  async drain(delivery: Delivery, options: DrainOptions = {}): Promise<Drained> {
    checkOptionNames("drain", options, DRAIN);
    const { signal, limit = Infinity, concurrency = 5 } = options;
    if (limit !== Infinity) checkInteger("drain", "limit", limit);
    checkInteger("drain", "concurrency", concurrency);
    return await new Drainer(this.settings, delivery, signal, limit, concurrency).run();
  }

  /** The entries of all items that wait, or of those in one state. */
  async *list(
    options: CallOptions & { readonly state?: OutboxState | undefined } = {},
  ): AsyncIterable<OutboxEntry> {
    checkOptionNames("list the outbox", options, LIST);
    const { signal, state: wanted } = options;
    if (wanted !== undefined) checkOneOf("list the outbox", "state", wanted, Object.values(STATES));
    for (let n = 0; n < this.settings.buckets; n++) {
      const record = await this.settings.store.transact(readItem, bucketKey(n), {}, { signal });
      for (const [id, text] of Object.entries(record)) {
        const entry = readEntry(text);
        const state = STATES[entry.state as keyof typeof STATES];
        if (wanted !== undefined && state !== wanted) continue;
        const attempts = entry.attempt - entry.base;
        yield { id, state, at: entry.time, attempts, code: entry.code === "" ? undefined : entry.code };
      }
    }
  }

  /** The record of an item, `{}` where there is none. */
  async read(id: string, options?: CallOptions): Promise<Fields> {
    checkOptionNames("read the outbox", options, CALL);
    return await this.settings.store.transact(readItem, itemKey(id), {}, options);
  }

  /** Delivers an item again that is dead or in doubt. */
  async requeue(id: string, options?: CallOptions): Promise<boolean> {
    checkOptionNames("requeue", options, CALL);
    return await this.#resolve(id, "w", options);
  }

  /** Forgets an item that is not being delivered. */
  async discard(id: string, options?: CallOptions): Promise<boolean> {
    checkOptionNames("discard", options, CALL);
    if (!await this.#resolve(id, "gone", options)) return false;
    await this.settings.store.delete(itemKey(id), options);
    return true;
  }

  async #resolve(id: string, to: "w" | "gone", options: CallOptions | undefined): Promise<boolean> {
    const { store, buckets } = this.settings;
    const output = await store.transact(resolveItem, bucketKey(bucketOf(id, buckets)), { id, to }, options);
    return output.done === "1";
  }
}
