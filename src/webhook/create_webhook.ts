/**
 * Inbound webhooks over idempotency; the contract is in `webhook.ts`, the verifiers in the files beside it.
 */
import { systemClock } from "../clock.ts";
import { checkSchema } from "../check_schema.ts";
import { toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { isOutage } from "../fault_class.ts";
import { type BodyReader, type Exchange, fetchExchange, perStore } from "../http/exchange.ts";
import { safely } from "../safely.ts";
import { problemResponse, unavailable } from "../response.ts";
import { readBody } from "../http/request_body.ts";
import { createIdempotency } from "../idempotency/create_idempotency.ts";
import type { Claim, Idempotency } from "../idempotency/idempotency.ts";
import type { Schema, SchemaOutput } from "../schema.ts";
import { sha256 } from "../secret.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import {
  checkFunction,
  checkInteger,
  checkNeededOptions,
  checkOneOf,
  type OptionNames,
} from "../validate.ts";
import type { WebhookDelivery, WebhookEvent, WebhookOptions, WebhookVerdict } from "./webhook.ts";

const OPTIONS = {
  verify: true,
  store: true,
  name: true,
  handle: true,
  schema: true,
  whenInvalid: true,
  lease: true,
  maxHold: true,
  retention: true,
  timeout: true,
  maxBody: true,
  concurrency: true,
  waitUntil: true,
  onFault: true,
  clock: true,
} satisfies OptionNames<WebhookOptions>;

const TASK = "receive webhooks";

/**
 * Makes a fetch handler of an endpoint that receives webhooks: it verifies the raw bytes, and does the work
 * of each event once, however often and however concurrently it is delivered.
 *
 * 200: done, now or before. 409 with `Retry-After`: another delivery of the event is being worked on. 500:
 * the work failed; the sender tries again. 503: the store is unavailable. 403: not signed by a secret of
 * ours, or too old. 400: signed, but not what this sender sends. 422: refused by the schema. 413: too large.
 * 405: no POST.
 *
 * A delivery that crashes frees its event after `lease`; the next one is `attempt` 2.
 *
 * @throws {TypeError | RangeError} when an option is missing, unknown or out of its range
 * @category Webhooks
 * @example
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { signedWebhook, webhook } from "@holdfast/edge/webhooks";
 *
 * const done: unknown[] = [];
 * const receive = webhook({
 *   verify: signedWebhook({
 *     secret: "a secret that the sender has too",
 *     signature: "x-signature",
 *     id: (event) => (event as { id: string }).id,
 *   }),
 *   store: memoryStore(),
 *   name: "orders",
 *   handle: (event) => void done.push(event),
 * });
 * const forged = new Request("https://shop.example/hooks", {
 *   method: "POST",
 *   headers: { "x-signature": "00" },
 *   body: `{"id":"1"}`,
 * });
 * if ((await receive(forged)).status !== 403 || done.length > 0) throw new Error("it was not signed");
 * ```
 */
export function webhook<S extends Schema = Schema, Context = unknown>(
  options: WebhookOptions<S, Context>,
): (request: Request, context?: Context) => Promise<Response> {
  const receive = webhookReceiver(options, readBody);
  return async (request, context) =>
    await receive(fetchExchange(request, context as Context, options.waitUntil));
}

/** The receiver of deliveries, whatever framework they come through. */
export function webhookReceiver<S extends Schema, Context>(
  options: WebhookOptions<S, Context>,
  readBody: BodyReader<Context>,
): (exchange: Exchange<Context>) => Promise<Response> {
  checkOptions(options);
  const opened = perStore(options.store, (store) => openStore(store, options as WebhookOptions));
  return async (exchange) => await new Receiving(exchange, readBody, options, opened).receive();
}

function checkOptions<S extends Schema, Context>(options: WebhookOptions<S, Context>): void {
  checkNeededOptions(TASK, options, OPTIONS, "'verify', 'store', 'name' and 'handle'");
  for (const name of ["verify", "handle"] as const) {
    if (options[name] === undefined) throw new TypeError(`Cannot ${TASK} as '${name}' is missing`);
  }
  for (const name of ["verify", "handle", "waitUntil", "onFault"] as const) {
    checkFunction(TASK, name, options[name]);
  }
  if (typeof options.name !== "string" || options.name === "") {
    throw new TypeError(`Cannot ${TASK} as 'name' must be a non-empty string: each endpoint has its own`);
  }
  if (options.schema !== undefined) checkSchema(TASK, options.schema);
  checkOneOf(TASK, "whenInvalid", options.whenInvalid ?? "refuse", ["refuse", "ignore"]);
  for (const name of ["lease", "maxHold", "retention", "timeout"] as const) {
    const duration = options[name];
    if (duration !== undefined) toMilliseconds(duration, name);
  }
  checkInteger(TASK, "maxBody", options.maxBody ?? MEBIBYTE);
  checkInteger(TASK, "concurrency", options.concurrency ?? CONCURRENCY, 1, 100);
}

const MEBIBYTE = 1_048_576;
const CONCURRENCY = 8;

/** The state per store. */
interface OpenedStore {
  readonly keys: Idempotency;
  /** Values that were signed, with what came with them. */
  readonly nonces: AtomicStore;
  readonly retention: number;
}

function openStore(store: AtomicStore, options: WebhookOptions): OpenedStore {
  const { name, lease, maxHold, retention = "7d", timeout = "10s", onFault, clock } = options;
  const space = store.namespace("webhook");
  return {
    keys: createIdempotency(space, {
      name,
      lease,
      maxHold,
      retention,
      timeout,
      onFault: safely(onFault),
      clock,
    }),
    nonces: space.namespace(name).namespace("nonce"),
    retention: toMilliseconds(retention, "retention"),
  };
}

/** The result of one event. */
type Outcome =
  | { readonly state: "done"; readonly response?: Response | undefined }
  | { readonly state: "duplicate" | "ignored" | "invalid" }
  | { readonly state: "busy"; readonly retryAfter: number }
  | { readonly state: "rejected"; readonly response: Response }
  | { readonly state: "failed"; readonly error: unknown };

/** Whether what was signed once came before, with something else. */
async function isReused(
  { nonce, binds }: NonNullable<Extract<WebhookVerdict, { state: "verified" }>["once"]>,
  { nonces, retention: ttl }: OpenedStore,
): Promise<boolean> {
  const bound = await sha256(binds);
  const held = await nonces.setIfAbsent(await sha256(nonce), bound, { ttl });
  return !held.set && held.current !== bound;
}

/** The receiving of one delivery. */
class Receiving<S extends Schema, Context> {
  readonly #exchange: Exchange<Context>;
  readonly #readBody: BodyReader<Context>;
  readonly #options: WebhookOptions<S, Context>;
  readonly #opened: (context: Context) => OpenedStore;
  readonly #report: (error: unknown) => void;

  constructor(
    exchange: Exchange<Context>,
    readBody: BodyReader<Context>,
    options: WebhookOptions<S, Context>,
    opened: (context: Context) => OpenedStore,
  ) {
    this.#exchange = exchange;
    this.#readBody = readBody;
    this.#options = options;
    this.#opened = opened;
    this.#report = safely(options.onFault);
  }

  async receive(): Promise<Response> {
    const { request, context } = this.#exchange;
    const { verify, maxBody = MEBIBYTE, clock = systemClock } = this.#options;
    if (request.method !== "POST") {
      const response = problemResponse(405, "A webhook is a POST");
      response.headers.set("allow", "POST");
      return response;
    }
    const body = await this.#readBody(
      this.#exchange,
      maxBody,
      "Cannot verify the webhook as its body was read before: its signature is over the raw bytes",
    );
    if (body === undefined) {
      return problemResponse(413, "The webhook is too large", {
        detail: `At most ${maxBody} bytes are read`,
      });
    }
    const verdict = await verify({ headers: request.headers, body, now: clock.now() }, context);
    switch (verdict.state) {
      case "refused":
        return problemResponse(403, "The webhook is not authentic", { detail: verdict.reason });
      case "malformed":
        return problemResponse(400, "The webhook cannot be read", { detail: verdict.reason });
      case "answered":
        return verdict.response;
    }
    // From here on a sender that leaves must not end the work: the event would stay claimed.
    const work = this.#work(verdict, body);
    this.#exchange.waitUntil(work.catch(() => {}));
    return await work;
  }

  async #work(
    { events, once }: Extract<WebhookVerdict, { state: "verified" }>,
    body: Uint8Array<ArrayBuffer>,
  ): Promise<Response> {
    const opened = this.#opened(this.#exchange.context);
    let outcomes: readonly Outcome[];
    try {
      if (once !== undefined && await isReused(once, opened)) {
        return problemResponse(403, "The webhook is not authentic", {
          detail: "Its signature was used for another body",
        });
      }
      outcomes = await this.#all(opened.keys, events, body);
    } catch (error) {
      if (error instanceof HoldfastError) this.#report(error);
      if (!isOutage(error)) throw error;
      return unavailable();
    }
    return this.#answer(outcomes);
  }

  /** Does all events, some at a time. After a fault none is begun, and those under way come to their end. */
  async #all(
    keys: Idempotency,
    events: readonly WebhookEvent[],
    body: Uint8Array<ArrayBuffer>,
  ): Promise<Outcome[]> {
    const outcomes: Outcome[] = [];
    const faults: unknown[] = [];
    let next = 0;
    const worker = async () => {
      while (next < events.length && faults.length === 0) {
        const at = next++;
        try {
          outcomes[at] = await this.#one(keys, events[at]!, body);
        } catch (error) {
          faults.push(error);
        }
      }
    };
    await Promise.all(Array.from({ length: this.#options.concurrency ?? CONCURRENCY }, worker));
    if (faults.length > 0) throw faults[0];
    return outcomes;
  }

  /** Does one event, unless it was done or is being done. */
  async #one(keys: Idempotency, event: WebhookEvent, body: Uint8Array<ArrayBuffer>): Promise<Outcome> {
    const { schema, whenInvalid = "refuse" } = this.#options;
    let value = event.payload;
    if (schema !== undefined) {
      const checked = await schema["~standard"].validate(value);
      if (checked.issues !== undefined) return { state: whenInvalid === "ignore" ? "ignored" : "invalid" };
      value = checked.value;
    }
    const begun = await keys.begin(await sha256(event.id), {
      waitUntil: (work) => void this.#exchange.waitUntil(work),
    });
    switch (begun.state) {
      case "new":
        return await this.#handle(keys, begun.claim, event.id, value as SchemaOutput<S>, body);
      case "in-progress":
        return { state: "busy", retryAfter: begun.retryAfter };
      default:
        return { state: "duplicate" };
    }
  }

  async #handle(
    keys: Idempotency,
    claim: Claim,
    id: string,
    event: SchemaOutput<S>,
    body: Uint8Array<ArrayBuffer>,
  ): Promise<Outcome> {
    const hold = keys.hold(claim);
    let pinned = false;
    const delivery: WebhookDelivery<Context> = {
      id,
      attempt: claim.attempt,
      request: this.#exchange.request,
      context: this.#exchange.context,
      body,
      pin: () => void (pinned = true),
      get signal() { // made for those who look: most handlers do not
        return hold.signal;
      },
    };
    let outcome: Outcome;
    try {
      const response = await this.#options.handle(event, delivery) ?? undefined;
      // The handler has returned, so the work is done: a wrong answer is an error, but must not repeat the work.
      if (response !== undefined && typeof response.clone !== "function") {
        pinned = true;
        throw new TypeError(
          `Cannot ${TASK} as 'handle' must return a Response or nothing: current type is ${typeof response}`,
        );
      }
      outcome = response === undefined || response.ok
        ? { state: "done", response }
        : { state: "rejected", response };
    } catch (error) {
      outcome = { state: "failed", error };
    }
    hold.settle();
    try {
      // The work was done: whatever becomes of noting it, the sender is told so and does not repeat it.
      if (outcome.state === "done" || pinned) await keys.complete(claim, null, { retain: false });
      else await keys.abandon(claim);
    } catch (error) {
      this.#report(error);
    }
    hold.stop();
    return outcome;
  }

  /**
   * One answer for all events: the sender repeats the whole delivery, in which events that were done are
   * duplicates.
   */
  #answer(outcomes: readonly Outcome[]): Response {
    const failed = outcomes.filter((outcome) => outcome.state === "failed");
    for (const { error } of failed) this.#report(error);
    if (failed.length > 0) {
      if (this.#options.onFault === undefined) throw failed[0]!.error;
      return problemResponse(500, "The webhook was not worked off");
    }
    const rejected = outcomes.find((outcome) => outcome.state === "rejected");
    if (rejected) return rejected.response;
    const waits = outcomes.flatMap((outcome) => outcome.state === "busy" ? outcome.retryAfter : []);
    if (waits.length > 0) {
      return problemResponse(409, "Another delivery is being worked on", { retryAfter: Math.max(...waits) });
    }
    if (outcomes.some(({ state }) => state === "invalid")) {
      return problemResponse(422, "The webhook is not of a form that is expected");
    }
    const [only] = outcomes;
    if (outcomes.length === 1 && only?.state === "done" && only.response) return only.response;
    const response = new Response(`{"received":true}`, {
      headers: { "content-type": "application/json", "cache-control": "no-store" },
    });
    if (only && outcomes.every(({ state }) => state === "duplicate")) {
      response.headers.set("idempotency-replayed", "true");
    }
    return response;
  }
}
