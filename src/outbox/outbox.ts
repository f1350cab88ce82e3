/**
 * The outbox: a durable queue of anything on an atomic store. `add` is done once the item is stored; a cron,
 * an alarm or `waitUntil` calls `drain`, which hands each item to `handle` under a lease. Nothing is lost
 * when a process is killed in between: the item is handed out again after its lease, with the same key.
 *
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { createOutbox } from "@holdfast/edge/outbox";
 * const events = createOutbox<{ order: number }>(memoryStore(), {
 *   name: "events",
 *   handle: async ({ order }, { key, signal }) => {
 *     const headers = { "idempotency-key": key };
 *     const response = await fetch("data:,ok", { signal, headers }); // your receiver, which knows the key
 *     if (!response.ok) throw new Error(`order ${order}: ${response.status}`); // tried again later
 *     await response.body?.cancel();
 *   },
 * });
 * await events.add({ order: 17 }, { key: "order-17:paid" });
 * await events.drain();
 * ```
 *
 * @module
 */
import type { Clock } from "../clock.ts";
import type { Duration } from "../duration.ts";
import type { CallOptions } from "../store/key_value_store.ts";

/**
 * Options of queueing and repeating, for items of any kind; the same for all that share one.
 *
 * @category Outbox
 */
export interface OutboxQueueOptions {
  /**
   * The number of records that index the items, of up to 500 each. It may grow while the outbox is empty.
   * @default {16}
   */
  readonly buckets?: number | undefined;
  /**
   * The maximum number of attempts before an item is dead, the first included; attempts that crashed count.
   * @default {8}
   */
  readonly attempts?: number | undefined;
  /**
   * The longest wait before the second attempt; it doubles with each further one. The wait itself is a random
   * part of it. A time that the other side asks for (`retryAfter` of the error) counts in full, up to a day.
   * @default {"10s"}
   */
  readonly delay?: Duration | undefined;
  /**
   * The maximum of the doubling.
   * @default {"1h"}
   */
  readonly maxDelay?: Duration | undefined;
  /**
   * The time for which an item stays with a drainer that was killed; a living one extends it.
   * @default {"1m"}
   */
  readonly lease?: Duration | undefined;
  /**
   * The time for which an item is kept after it was due, dead ones and those in doubt included; when it ends,
   * the item is reported as `expired`.
   * @default {"30d"}
   */
  readonly retention?: Duration | undefined;
  /**
   * The time for which the key of a delivered item is remembered.
   * @default {"24h"}
   */
  readonly remember?: Duration | undefined;
  /**
   * The clock for heartbeats, and for the ends of leases on this side.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

/**
 * The context that `handle` gets beside the item.
 *
 * @category Outbox
 */
export interface OutboxContext {
  /** The item's id in the outbox. */
  readonly id: string;
  /**
   * The item's key, the same in every attempt: pass it on, so that the receiver can recognise a repetition.
   */
  readonly key: string;
  /** The number of the attempt, the first is 1. */
  readonly attempt: number;
  /** Aborts after `attemptTimeout`, and when the lease ends: another drainer may then have the item. */
  readonly signal: AbortSignal;
}

/**
 * Options of {@linkcode createOutbox}.
 *
 * @category Outbox
 */
export interface OutboxOptions<Item> extends OutboxQueueOptions {
  /** The namespace of the items. Two outboxes on one store need two names. */
  readonly name: string;
  /**
   * Delivers one item. When it resolves, the item is done; when it throws, the item is tried again after a
   * delay, up to `attempts` times.
   */
  readonly handle: (item: Item, context: OutboxContext) => void | Promise<void>;
  /**
   * The maximum time of one attempt. A handler that does not heed its signal may go on beside the next
   * attempt.
   * @default {"1m"}
   */
  readonly attemptTimeout?: Duration | undefined;
  /**
   * Whether to try again after an error of `handle`; otherwise the item is dead at once.
   * @default {every error does}
   */
  readonly retryIf?: ((error: unknown) => boolean) | undefined;
  /**
   * The choice when it is unknown whether an attempt succeeded: its process was killed, it timed out, or it
   * threw a `HoldfastError` that is `ambiguous`. `"again"` hands the item out again (at least once); `"hold"`
   * keeps it as in doubt until {@linkcode Outbox.requeue} or `discard` (at most once).
   * @default {"again"}
   */
  readonly whenUnknown?: "again" | "hold" | undefined;
  /** Called with every error of `handle`. What it throws is dropped. */
  readonly onFault?: ((error: unknown, context: OutboxContext) => void) | undefined;
}

/**
 * Options of {@linkcode Outbox.add}.
 *
 * @category Outbox
 */
export interface AddOptions extends CallOptions {
  /**
   * Recognises the item: the same key with an equal item is queued and delivered once, for as long as it is
   * remembered; with another item it is an error. 1 to 512 characters.
   * @default {a random one}
   */
  readonly key?: string | undefined;
  /**
   * The time for which the item waits first, by the store's clock.
   * @default {0}
   */
  readonly delay?: Duration | undefined;
}

/**
 * The states of an item that was not delivered yet.
 *
 * @category Outbox
 */
export type OutboxState = "queued" | "delivering" | "dead" | "in-doubt";

/**
 * The outbox has the item, or had it.
 *
 * @category Outbox
 */
export interface Added {
  /** The outbox's own id of the item, made from its key. */
  readonly id: string;
  /**
   * `queued` for an item that waits. The others answer to a repeated key: it was `done` already, is `dead`,
   * or `in-doubt`.
   */
  readonly state: "queued" | "done" | "dead" | "in-doubt";
}

/**
 * Options of {@linkcode Outbox.drain}.
 *
 * @category Outbox
 */
export interface DrainOptions {
  /** Takes no more items when it aborts; what is being delivered is finished. */
  readonly signal?: AbortSignal | undefined;
  /**
   * The maximum number of items to take.
   * @default {Infinity} (until nothing is due)
   */
  readonly limit?: number | undefined;
  /**
   * The maximum number of items that are delivered at once, whatever buckets they are in.
   * @default {5}
   */
  readonly concurrency?: number | undefined;
}

/**
 * The report of {@linkcode Outbox.drain}, in items.
 *
 * @category Outbox
 */
export interface OutboxReport {
  /** Items that `handle` finished. */
  readonly done: number;
  /** Those of them that had been tried before with unknown outcome. */
  readonly repeated: number;
  /** Not delivered; they will be tried again. */
  readonly retried: number;
  /** Given up: see {@linkcode Outbox.list}. */
  readonly dead: number;
  /** It is unknown whether they were delivered: see {@linkcode Outbox.list}. */
  readonly inDoubt: number;
  /** Deleted after their retention without having been delivered. */
  readonly expired: number;
  /**
   * Milliseconds until more is due, 0 when something is now; `undefined` when nothing waits. The time for the
   * next alarm.
   */
  readonly nextAfter: number | undefined;
}

/**
 * An item in the outbox.
 *
 * @category Outbox
 */
export interface OutboxEntry {
  /** As in the answer of `add`. */
  readonly id: string;
  /** The state: waiting, being delivered, given up, or in doubt. */
  readonly state: OutboxState;
  /**
   * The time it is due, its lease ends, or since which it is dead or in doubt; milliseconds since the epoch.
   */
  readonly at: number;
  /** The number of attempts since it was queued, or requeued. */
  readonly attempts: number;
  /**
   * The code of the error of the last attempt, `failed` for an error without one; `undefined` if there is
   * none.
   */
  readonly code: string | undefined;
}

/**
 * A durable queue. Items are delivered in about the order in which they are due; no order is promised.
 *
 * @category Outbox
 */
export interface Outbox<Item> {
  /**
   * Queues one item; it is durable when this resolves.
   *
   * @throws {TypeError} when the item is no JSON, or an option is not valid
   * @throws {HoldfastError} `value-too-large` when the engine cannot hold it, `store-full` when its bucket is
   *   full,
   * `fingerprint-mismatch` when the key was used for another item; what the store throws, `ambiguous` when
   * the item may be queued: repeat it with the same key
   */
  add(item: Item, options?: AddOptions): Promise<Added>;
  /**
   * Delivers what is due, until nothing is. Several may run at once, in several processes.
   *
   * @throws {RangeError} when an option is not a positive integer
   * @throws {HoldfastError} when the store fails; what was taken is free again when its lease ends
   */
  drain(options?: DrainOptions): Promise<OutboxReport>;
  /** Everything that was not delivered yet, or only what is in one state. One round trip per bucket. */
  list(options?: CallOptions & { readonly state?: OutboxState | undefined }): AsyncIterable<OutboxEntry>;
  /** The item itself, while it is there. */
  read(id: string, options?: CallOptions): Promise<Item | undefined>;
  /** Tries an item that is dead or in doubt again; `false` when it is neither. */
  requeue(id: string, options?: CallOptions): Promise<boolean>;
  /** Forgets an item that is not being delivered, and its key; `false` when there is none. */
  discard(id: string, options?: CallOptions): Promise<boolean>;
}
