/** An outbox of JSON over an atomic store. */
import { decodeValue, encodeValue } from "../codec.ts";
import { withTimeout } from "../deadline.ts";
import { toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { safely } from "../safely.ts";
import { randomToken, sha256 } from "../secret.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import type { Fields } from "../store/transition.ts";
import {
  checkFunction,
  checkNeededOptions,
  checkOneOf,
  checkOptionNames,
  checkStore,
  type OptionNames,
} from "../validate.ts";
import type { Attempt, Delivery, Outcome } from "./delivery.ts";
import type {
  Added,
  AddOptions,
  DrainOptions,
  Outbox,
  OutboxContext,
  OutboxOptions,
  OutboxReport,
} from "./outbox.ts";
import { QUEUE_OPTIONS, queueSettings } from "./queue_settings.ts";
import { StoredOutbox } from "./stored_outbox.ts";

const TASK = "create an outbox";
const OPTIONS = {
  ...QUEUE_OPTIONS,
  name: true,
  handle: true,
  attemptTimeout: true,
  retryIf: true,
  whenUnknown: true,
  onFault: true,
} satisfies OptionNames<OutboxOptions<unknown>>;
const ADD = { signal: true, key: true, delay: true } satisfies OptionNames<AddOptions>;

/**
 * Creates an outbox. An item takes two transitions to queue and three to deliver, and ten items share one
 * more. It holds up to `buckets × 500` items, each within the engine's value limit (Deno KV: 64 KiB, Durable
 * Objects: 2 MB, Upstash: 900 KB).
 *
 * An item is delivered at least once: a process that was killed during `handle` leaves it to the next one,
 * after its lease. So pass `key` on to the receiver, or let `handle` run under `idempotency.run(key, …)`.
 *
 * On Postgres and D1 an item commits together with the rows of the application: make the outbox over
 * `store.within(transaction)` and `add` there.
 *
 * @throws {TypeError} when an option is missing, unknown or of another type
 * @throws {RangeError} when an option is out of its range
 * @category Outbox
 * @example
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { createOutbox } from "@holdfast/edge/outbox";
 * const published: string[] = [];
 * const events = createOutbox<{ type: string }>(memoryStore(), {
 *   name: "events",
 *   handle: ({ type }) => void published.push(type),
 * });
 * await events.add({ type: "paid" }, { key: "order-17:paid" });
 * await events.add({ type: "paid" }, { key: "order-17:paid" }); // the same one
 * const { done } = await events.drain();
 * if (done !== 1 || published.join() !== "paid") throw new Error("unexpected");
 * ```
 *
 * @example Drained behind a response and by a cron, on Workers
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { createOutbox } from "@holdfast/edge/outbox";
 * const events = createOutbox<{ order: number }>(memoryStore(), { name: "events", handle: () => {} });
 * export const worker = {
 *   async fetch(_request: Request, _env: unknown, ctx: { waitUntil(work: Promise<unknown>): void }) {
 *     await events.add({ order: 17 });
 *     ctx.waitUntil(events.drain()); // what does not get done in time is done by the next one
 *     return new Response("accepted", { status: 202 });
 *   },
 *   scheduled: () => events.drain(),
 * };
 * ```
 */
export function createOutbox<Item>(store: AtomicStore, options: OutboxOptions<Item>): Outbox<Item> {
  checkStore(TASK, store);
  checkNeededOptions(TASK, options, OPTIONS, "'name' and 'handle'");
  if (typeof options.name !== "string" || options.name === "") {
    throw new TypeError(`Cannot ${TASK} as 'name' must be a text: it keeps this outbox apart from others`);
  }
  if (typeof options.handle !== "function") {
    throw new TypeError(`Cannot ${TASK} as 'handle' must be a function: it delivers an item`);
  }
  checkOneOf(TASK, "whenUnknown", options.whenUnknown ?? "again", ["again", "hold"]);
  checkFunction(TASK, "retryIf", options.retryIf);
  checkFunction(TASK, "onFault", options.onFault);
  const timeout = toMilliseconds(options.attemptTimeout ?? "1m", "attemptTimeout");
  const queue = new StoredOutbox(
    queueSettings(TASK, store.namespace("outbox").namespace(options.name), options),
  );
  return new JsonOutbox(queue, new Handler(options, timeout));
}

class JsonOutbox<Item> implements Outbox<Item> {
  readonly #queue: StoredOutbox;
  readonly #handler: Handler<Item>;

  constructor(queue: StoredOutbox, handler: Handler<Item>) {
    this.#queue = queue;
    this.#handler = handler;
  }

  async add(item: Item, options: AddOptions = {}): Promise<Added> {
    checkOptionNames("add to the outbox", options, ADD);
    const { key = randomToken(16), delay, signal } = options;
    if (typeof key !== "string" || key === "" || key.length > 512) {
      throw new TypeError("Cannot add to the outbox as 'key' must be a string of 1 to 512 characters");
    }
    const wait = delay === undefined ? 0 : toMilliseconds(delay, "delay");
    const text = encodeValue(item);
    const entry = { key, fingerprint: await sha256(text), content: { body: text }, due: 0, delay: wait };
    if (this.#queue.isTooLarge(entry)) throw tooLarge(this.#queue.settings.store);
    signal?.throwIfAborted();
    const { id, state } = await this.#queue.queue(entry, { signal }, (_last, step) => step());
    if (state === "mismatch") {
      throw new HoldfastError(
        "fingerprint-mismatch",
        "Cannot add to the outbox as the key was used for another item",
      );
    }
    if (state === "full") {
      throw new HoldfastError("store-full", "Cannot add to the outbox as its bucket is full", {
        retryable: true,
      });
    }
    return { id, state: state === "sent" ? "done" : state };
  }

  async drain(options?: DrainOptions): Promise<OutboxReport> {
    const { left: _, ...report } = await this.#queue.drain(this.#handler, options);
    return report;
  }

  list: Outbox<Item>["list"] = (options) => this.#queue.list(options);

  async read(id: string, options?: CallOptions): Promise<Item | undefined> {
    const { body } = await this.#queue.read(id, options);
    return body === undefined ? undefined : decodeValue(body) as Item;
  }

  requeue(id: string, options?: CallOptions): Promise<boolean> {
    return this.#queue.requeue(id, options);
  }

  discard(id: string, options?: CallOptions): Promise<boolean> {
    return this.#queue.discard(id, options);
  }
}

/** Delivers by the caller's `handle`. */
class Handler<Item> implements Delivery {
  readonly repeats: boolean;
  readonly #options: OutboxOptions<Item>;
  readonly #timeout: number;

  constructor(options: OutboxOptions<Item>, timeout: number) {
    this.#options = options;
    this.#timeout = timeout;
    this.repeats = options.whenUnknown !== "hold";
  }

  async deliver(stored: Fields, { id, number, signal: held }: Attempt): Promise<Outcome> {
    const { handle } = this.#options;
    const over = new AbortController();
    const signal = AbortSignal.any([held(), over.signal]);
    const context: OutboxContext = { id, key: stored.key!, attempt: number, signal };
    let item: Item;
    try {
      item = decodeValue(stored.body!) as Item;
    } catch (error) {
      safely(this.#options.onFault)(error, context);
      // No further attempt could read it.
      return { state: "failed", code: "corrupt-record", again: false, unknown: false };
    }
    try {
      const work = (async () => await handle(item, context))();
      await withTimeout(work, this.#timeout, signal, overdue);
      return { state: "done" };
    } catch (error) {
      if (!signal.aborted) over.abort(error);
      safely(this.#options.onFault)(error, context);
      return await this.#failed(error);
    }
  }

  async #failed(error: unknown): Promise<Outcome> {
    const ours = error instanceof HoldfastError;
    return {
      state: "failed",
      code: ours ? error.code : "failed",
      again: await this.#retries(error),
      unknown: ours && error.ambiguous,
      ...(ours && { retryAfter: error.retryAfter }),
    };
  }

  /** The choice of `retryIf`; one that throws asks for another attempt, which loses nothing. */
  async #retries(error: unknown): Promise<boolean> {
    try {
      return await this.#options.retryIf?.(error) ?? true;
    } catch {
      return true;
    }
  }
}

function overdue(): HoldfastError {
  return new HoldfastError("timeout", "Cannot wait for the handler as 'attemptTimeout' is over", {
    retryable: true,
    ambiguous: true,
  });
}

function tooLarge({ engine, limits }: AtomicStore): HoldfastError {
  return new HoldfastError(
    "value-too-large",
    `Cannot add to the outbox as ${engine} holds at most ${limits.maxValueLength} characters`,
  );
}
