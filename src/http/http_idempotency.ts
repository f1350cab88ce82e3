/** Idempotency around a fetch handler, and the one implementation of Hono's `idempotency()`. */
import { type Duration, toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { faultClass, isStoreFull } from "../fault_class.ts";
import { idempotencyKeyProblem, readIdempotencyKey } from "./idempotency_key.ts";
import { requestFingerprint } from "./request_fingerprint.ts";
import { ResponseTee, type TeeOutcome } from "./response_tee.ts";
import {
  around,
  isStoredResponse,
  maxStoredBody,
  replayed,
  type StoredResponse,
  storedResponse,
} from "./stored_response.ts";
import { createIdempotency } from "../idempotency/create_idempotency.ts";
import type { Claim, Completion, Hold, Idempotency } from "../idempotency/idempotency.ts";
import { sha256 } from "../secret.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import {
  checkFunction,
  checkInteger,
  checkNeededOptions,
  checkOneOf,
  type OptionNames,
} from "../validate.ts";
import {
  around as aroundHandler,
  type ContextStore,
  type Exchange,
  type FetchHandler,
  type Helper,
  perStore,
  safely,
  type Served,
  type WaitUntilOption,
} from "./exchange.ts";
import { problem, unavailable } from "./problem.ts";

/**
 * Options of {@linkcode withIdempotency}.
 *
 * @category HTTP
 */
export interface HttpIdempotencyOptions<Context = unknown> {
  /** The store of the keys, or a function that makes it of the context. */
  readonly store: ContextStore<Context>;
  /**
   * The caller that a key belongs to: two callers never see each other's answers. `"public"` means that all
   * callers share their keys. A request without a caller is an error: mount this after what tells who calls.
   */
  readonly scope: "public" | ((request: Request, context: Context) => string | Promise<string>);
  /**
   * Refuses a request without a key with a 400; otherwise it is served without protection.
   * @default {true}
   */
  readonly required?: boolean | undefined;
  /**
   * The methods that take a key, in upper case; others pass without any I/O.
   * @default {["POST", "PATCH"]}
   */
  readonly methods?: readonly string[] | undefined;
  /**
   * Requires a quoted key, as the draft has it.
   * @default {false}
   */
  readonly strict?: boolean | undefined;
  /**
   * The time for which a crashed request blocks its key; extended while the handler runs.
   * @default {"30s"}
   */
  readonly lease?: Duration | undefined;
  /**
   * The longest time for which a request keeps its key, whatever its handler does. After that another request
   * may run.
   * @default {"1h", or a longer lease}
   */
  readonly maxHold?: Duration | undefined;
  /**
   * The time for which an answer is kept.
   * @default {"24h"}
   */
  readonly retention?: Duration | undefined;
  /** The time for which a duplicate waits for the first one's answer; without it, it gets a 409 at once. */
  readonly wait?: Duration | undefined;
  /**
   * The longest time that one call of the store takes, its retries included.
   * @default {"10s"}
   */
  readonly timeout?: Duration | undefined;
  /**
   * The largest request body in bytes; a larger one gets a 413.
   * @default {1_048_576}
   */
  readonly maxRequest?: number | undefined;
  /**
   * The largest response body in bytes that is kept. A larger one reaches its client whole; a duplicate
   * learns by a 409 that the work was done and its answer was not kept.
   * @default {1_048_576, or less where the engine's records hold less}
   */
  readonly maxResponse?: number | undefined;
  /**
   * Selects the answers that are kept, thrown HTTP errors included; for the others the next request with the
   * key runs again. One that throws keeps the answer.
   * @default {2xx, 3xx, and 4xx but 401, 403, 408, 409, 425 and 429}
   */
  readonly storeIf?: ((status: number) => boolean) | undefined;
  /**
   * Tells which requests are the same; for bodies that differ from one try to the next, as multipart ones do.
   * @default {a hash of the method, host, path, sorted query, kind and coding of the content, and body}
   */
  readonly fingerprint?:
    | ((request: Request, context: Context, body: Uint8Array<ArrayBuffer>) => string | Promise<string>)
    | undefined;
  /**
   * The behavior while the store is unavailable: `"deny"` answers a 503, `"allow"` runs the handler
   * unprotected. A store that is full never lets it run, as strangers may have filled it; one that is
   * misconfigured always throws.
   * @default {"deny"}
   */
  readonly whenUnavailable?: "deny" | "allow" | undefined;
  /**
   * Called with every fault: a store that does not answer or refuses, an answer that could not be stored, a
   * `storeIf` that threw.
   */
  readonly onFault?: ((error: unknown) => void) | undefined;
  /**
   * The namespace of the keys.
   * @default {"idempotency"}
   */
  readonly name?: string | undefined;
  /** Keeps the runtime alive; by default the context's own `waitUntil`, where it has one. */
  readonly waitUntil?: WaitUntilOption<Context> | undefined;
}

/**
 * A request that has the claim of its key.
 *
 * @category HTTP
 */
export interface ClaimedRequest {
  /** The key the client sent. */
  readonly key: string;
  /** 1, and one more each time a crashed request was replaced. */
  readonly attempt: number;
  /** Aborts when another request took the key over, or may have: at `maxHold` at the latest. */
  readonly signal: AbortSignal;
  /** Notes that the side effect happened: from here on every outcome is kept, also a 500. */
  pin(): void;
}

/**
 * What {@linkcode withIdempotency} adds to the handler's context.
 *
 * @category HTTP
 */
export interface IdempotencyContext {
  /** This request's claim; `undefined` for a request that passes without a key. */
  readonly idempotency: ClaimedRequest | undefined;
}

const OPTIONS = {
  store: true,
  scope: true,
  required: true,
  methods: true,
  strict: true,
  lease: true,
  maxHold: true,
  retention: true,
  wait: true,
  timeout: true,
  maxRequest: true,
  maxResponse: true,
  storeIf: true,
  fingerprint: true,
  whenUnavailable: true,
  onFault: true,
  name: true,
  waitUntil: true,
} satisfies OptionNames<HttpIdempotencyOptions>;

const TASK = "make requests idempotent";
const MEBIBYTE = 1_048_576;

/**
 * Serves a request once per Idempotency-Key; duplicates get the first answer, with `Idempotency-Replayed:
 * true`.
 *
 * 400: no key, or none that can be read. 409: the first request is still being served, or its answer was too
 * large to keep. 422: the key was used for another request. 413: the body is too large to compare. 503: the
 * store is unavailable.
 *
 * The handler runs to its end also when its client leaves: on Workers it is handed to `waitUntil`. An answer
 * that is complete when the handler returns is stored before it leaves. One that streams is passed on as it
 * comes and stored at its end. A 504 or 408 keeps the key for the rest of its lease, as the handler may still
 * run (`hono/timeout`). A handler that throws frees its key.
 *
 * Cookies are never stored, and a replay does not run the handler: it sets none. A route that logs in must not
 * be idempotent, or a client whose first answer was lost is told that it is in, and is not. A login is safe to
 * send again as it is: each one ends the session before.
 *
 * @see https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
 * @throws {TypeError | RangeError} when an option is unknown or out of its range
 * @category HTTP
 * @example
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { withIdempotency } from "@holdfast/edge/http";
 *
 * let charges = 0;
 * const handler = withIdempotency(
 *   () => Response.json({ charge: ++charges }),
 *   { store: memoryStore(), scope: "public" },
 * );
 * const headers = { "Idempotency-Key": '"order-17"' };
 * const pay = () => handler(new Request("https://example.com/payments", { method: "POST", headers }));
 * await pay();
 * const second = await pay();
 * const replayed = second.headers.get("idempotency-replayed") === "true";
 * if (charges !== 1 || !replayed) throw new Error("charged twice");
 * ```
 */
export function withIdempotency<Context = unknown>(
  handler: FetchHandler<Context & IdempotencyContext>,
  options: HttpIdempotencyOptions<Context>,
): (request: Request, context?: Omit<Context, keyof IdempotencyContext>) => Promise<Response> {
  const helper = idempotencyHelper(options);
  return aroundHandler(handler, "idempotency", options.waitUntil, helper) as ReturnType<
    typeof withIdempotency<Context>
  >;
}

/** The idempotency of requests, whatever framework they come through. */
export function idempotencyHelper<Context>(
  options: HttpIdempotencyOptions<Context>,
): Helper<Context, ClaimedRequest | undefined> {
  checkOptions(options);
  const { required = true, methods = ["POST", "PATCH"], wait, storeIf = isKept } = options;
  const { whenUnavailable = "deny" } = options;
  const onFault = safely(options.onFault);
  const protectedMethods = methods.map((method) => method.toUpperCase());
  const openedBy = perStore(options.store, (store) => openStore(store, options));

  return async (exchange, serve) => {
    const { request } = exchange;
    // fetch() writes some methods in upper case, but not PATCH.
    if (!protectedMethods.includes(request.method.toUpperCase())) return (await serve(undefined)).response;
    const header = request.headers.get("idempotency-key") ?? undefined;
    if (header === undefined && !required) return (await serve(undefined)).response;
    const identity = await identify(exchange, header, options);
    if (identity instanceof Response) return identity;
    const { id, key, fingerprint } = identity;
    const { keys, maxResponse } = openedBy(exchange.context);
    const claimAndServe = async (): Promise<Response> => {
      let begun: Awaited<ReturnType<Idempotency["begin"]>>;
      try {
        const waitUntil = (work: Promise<unknown>) => void exchange.waitUntil(work);
        begun = await keys.begin(id, { fingerprint, wait, waitUntil });
      } catch (error) {
        if (error instanceof HoldfastError) onFault(error);
        if (faultClass(error) !== "outage") throw error;
        // Strangers may have filled the store with keys: that must not open it.
        if (whenUnavailable !== "allow" || isStoreFull(error)) return unavailable();
        return (await serve(undefined)).response;
      }
      if (begun.state !== "new") return refusal(begun);
      return await new Serving(exchange, keys, begun.claim, { maxResponse, storeIf, onFault }).run(
        key,
        serve,
      );
    };
    // From the claim on, a client that leaves must not end the work: the key would stay taken, or the work
    // run again.
    const served = claimAndServe();
    exchange.waitUntil(served.catch(() => {}));
    return await served;
  };
}

function checkOptions<Context>(options: HttpIdempotencyOptions<Context>): void {
  checkNeededOptions(TASK, options, OPTIONS, "'store' and 'scope'");
  const { scope, methods, maxRequest, maxResponse, wait, whenUnavailable } = options;
  if (scope !== "public" && typeof scope !== "function") {
    throw new TypeError(`Cannot ${TASK} as 'scope' must be a function or "public"`);
  }
  // An empty list would protect nothing, in silence.
  const areMethods = Array.isArray(methods) && methods.length > 0 &&
    methods.every((it) => typeof it === "string");
  if (methods !== undefined && !areMethods) {
    throw new TypeError(`Cannot ${TASK} as 'methods' must be a list of methods, such as ["POST"], not empty`);
  }
  for (const name of ["required", "strict"] as const) {
    if (options[name] !== undefined) checkOneOf(TASK, name, options[name], [true, false]);
  }
  for (const name of ["storeIf", "fingerprint", "onFault", "waitUntil"] as const) {
    checkFunction(TASK, name, options[name]);
  }
  for (const name of ["lease", "maxHold", "retention", "timeout"] as const) {
    const duration = options[name];
    if (duration !== undefined) toMilliseconds(duration, name);
  }
  if (wait !== undefined) toMilliseconds(wait, "wait");
  if (maxRequest !== undefined) checkInteger(TASK, "maxRequest", maxRequest, 0);
  if (maxResponse !== undefined) checkInteger(TASK, "maxResponse", maxResponse, 0);
  if (whenUnavailable !== undefined) checkOneOf(TASK, "whenUnavailable", whenUnavailable, ["deny", "allow"]);
}

/** The values kept per store: its keys, and the largest answer that it holds. */
interface OpenedStore {
  readonly keys: Idempotency;
  readonly maxResponse: number;
}

function openStore<Context>(store: AtomicStore, options: HttpIdempotencyOptions<Context>): OpenedStore {
  const { lease, maxHold, retention, timeout = "10s", name, maxResponse } = options;
  const most = maxStoredBody(store.limits.maxValueLength);
  if (maxResponse !== undefined && maxResponse > most) {
    throw new RangeError(
      `Cannot ${TASK} as 'maxResponse' must be at most ${most} on ${store.engine}: current value is ${maxResponse}`,
    );
  }
  return {
    keys: createIdempotency(store, { lease, maxHold, retention, timeout, name, onFault: options.onFault }),
    maxResponse: maxResponse ?? Math.min(MEBIBYTE, most),
  };
}

/** A request that can be compared with others. */
interface Identity {
  /** The key in the store. */
  readonly id: string;
  /** The key that the client sent. */
  readonly key: string;
  readonly fingerprint: string;
}

/** Reads the key, the caller and the body of a request, or answers why it cannot. */
async function identify<Context>(
  exchange: Exchange<Context>,
  header: string | undefined,
  { strict = false, scope, maxRequest = MEBIBYTE, fingerprint }: HttpIdempotencyOptions<Context>,
): Promise<Identity | Response> {
  if (header === undefined) {
    return problem(400, "Idempotency-Key is missing", {
      detail: "This operation needs an Idempotency-Key header",
    });
  }
  const key = readIdempotencyKey(header, strict);
  if (key === undefined) {
    return problem(400, "Idempotency-Key is malformed", {
      detail: idempotencyKeyProblem(header, strict),
    });
  }
  const { context } = exchange;
  const caller = scope === "public" ? "public" : callerName(await scope(exchange.request, context));
  const body = await exchange.readBody(
    maxRequest,
    "Cannot compare the request as its body is already being read: put idempotency before that",
  );
  if (body === undefined) {
    return problem(413, "The request is too large", {
      detail: `At most ${maxRequest} bytes can be compared`,
    });
  }
  const id = await sha256(`${caller.length}:${caller}:${key}`);
  const print = fingerprint === undefined
    ? await requestFingerprint(exchange.request, body)
    : await fingerprint(exchange.request, context, body);
  return { id, key, fingerprint: print };
}

/**
 * A name for the store, which "public" cannot meet. A lone surrogate is refused: hashed, it would be another
 * caller's name.
 */
function callerName(caller: unknown): string {
  if (typeof caller === "string" && caller !== "" && caller.isWellFormed()) return `of:${caller}`;
  throw new TypeError(`Cannot ${TASK} as 'scope' must name the caller by a non-empty, well-formed string`);
}

/** The answer to a request that is not served, as another one was or is. */
function refusal(begun: Exclude<Awaited<ReturnType<Idempotency["begin"]>>, { state: "new" }>): Response {
  switch (begun.state) {
    case "completed":
      return replay(begun.response);
    case "in-progress":
      return problem(409, "A request is outstanding for this Idempotency-Key", { retryAfter: 1000 });
    case "mismatch":
      return problem(422, "Idempotency-Key is already used", {
        detail: "The key belongs to another request",
      });
    case "not-retained":
      return notRetained();
  }
}

/** Options of {@linkcode Serving}. */
interface ServingOptions {
  readonly maxResponse: number;
  readonly storeIf: (status: number) => boolean;
  readonly onFault: (error: unknown) => void;
}

/** The serving of one request that has the claim. */
class Serving {
  readonly #exchange: Exchange<unknown>;
  readonly #keys: Idempotency;
  readonly #claim: Claim;
  readonly #hold: Hold;
  readonly #options: ServingOptions;
  #pinned = false;

  constructor(exchange: Exchange<unknown>, keys: Idempotency, claim: Claim, options: ServingOptions) {
    this.#exchange = exchange;
    this.#keys = keys;
    this.#claim = claim;
    this.#options = options;
    this.#hold = keys.hold(claim);
  }

  /** What the handler gets. */
  #claimed(key: string): ClaimedRequest {
    const hold = this.#hold;
    return {
      key,
      attempt: this.#claim.attempt,
      pin: () => void (this.#pinned = true),
      get signal() { // made for those who look: most handlers do not
        return hold.signal;
      },
    };
  }

  /** Runs the handler and settles the claim by its answer. */
  async run(key: string, serve: (claimed: ClaimedRequest) => Promise<Served>): Promise<Response> {
    try {
      const served = await serve(this.#claimed(key));
      const { response } = served;
      switch (this.#fate(served)) {
        case "lapse":
          this.#hold.lapse();
          return response;
        case "free":
          await this.#giveUp(response.status);
          return response;
        case "keep":
          if (response.body !== null) return await this.#keepBody(response, response.body);
          return this.#overtake(response, await this.#keep(storedResponse(response, new Uint8Array())));
      }
    } catch (thrown) {
      // The handler threw what no framework answers; or its response was read already.
      await this.#giveUp(500);
      throw thrown;
    }
  }

  /** Decides about the claim by the status of the answer. */
  #fate({ response: { status }, error }: Served): "keep" | "free" | "lapse" {
    if (status < 200) return "free"; // an upgrade or a network error comes once
    if (this.#pinned) return "keep";
    // An error that is no HTTP error and ended as a 5xx is a crash: it may be different next time, whatever
    // storeIf says.
    const crashed = error !== undefined && status >= 500 && !isHttpError(error);
    if (!crashed && this.#isWanted(status)) return "keep";
    return status === 504 || status === 408 ? "lapse" : "free";
  }

  /** A `storeIf` that throws cannot undo the work: its answer is kept. */
  #isWanted(status: number): boolean {
    try {
      return this.#options.storeIf(status);
    } catch (error) {
      this.#options.onFault(error);
      return true;
    }
  }

  async #keepBody(response: Response, body: ReadableStream<Uint8Array>): Promise<Response> {
    const tee = new ResponseTee(body, this.#options.maxResponse);
    const outcome = await tee.atHand();
    if (outcome?.state === "whole" && outcome.bytes !== undefined) {
      const copy = around(response, outcome.bytes, outcome.bytes);
      return this.#overtake(copy, await this.#keep(storedResponse(copy, outcome.bytes)));
    }
    const { signal } = this.#hold;
    let answer: Response;
    const settled = new Promise<void>((resolve) => {
      const lost = () => {
        tee.stop();
        resolve(); // the runtime need not stay for a slow client
      };
      if (signal.aborted) lost();
      else signal.addEventListener("abort", lost, { once: true });
      const passed = tee.passOn(async (outcome) => {
        await this.#settleStream(response, outcome).finally(resolve);
      });
      answer = around(response, passed, tee.begun);
    });
    this.#exchange.waitUntil(settled);
    return answer!;
  }

  async #settleStream(response: Response, outcome: TeeOutcome): Promise<void> {
    if (outcome.state === "whole") return void await this.#keep(storedResponse(response, outcome.bytes));
    if (outcome.state === "failed" || this.#pinned) return await this.#giveUp(response.status);
    // It was stopped when the lease had ended: the claim is free by itself.
    this.#hold.stop();
  }

  /** Stores the answer. The work was done: whatever becomes of storing it, its client gets it. */
  async #keep(stored: StoredResponse): Promise<Completion | void> {
    const { onFault } = this.#options;
    this.#hold.settle();
    try {
      return await this.#keys.complete(this.#claim, stored);
    } catch (error) {
      onFault(error);
      if (!(error instanceof HoldfastError && error.code === "value-too-large")) return;
      const { status } = stored;
      return await this.#keys.complete(this.#claim, { status, headers: [] }).catch(onFault);
    } finally {
      this.#hold.stop();
    }
  }

  /**
   * Ends the claim of an answer that cannot be got again: the next request runs, unless the work must not
   * happen twice.
   */
  async #giveUp(status: number): Promise<void> {
    if (this.#pinned) return void await this.#keep({ status, headers: [] });
    this.#hold.settle();
    await this.#keys.abandon(this.#claim).catch(this.#options.onFault);
    this.#hold.stop();
  }

  /** Answers with another request's answer when that completed the key meanwhile. */
  #overtake(own: Response, completion: Completion | void): Response {
    if (completion?.state !== "superseded" || !completion.completed || completion.response === undefined) {
      return own;
    }
    const answer = replay(completion.response);
    // Fields that cors() around this middleware wrote belong to this exchange, not to the replaced answer.
    for (const [name, value] of own.headers) {
      if (name.startsWith("access-control-")) answer.headers.set(name, value);
    }
    return answer;
  }
}

function isHttpError(error: unknown): boolean {
  return typeof (error as { getResponse?: unknown }).getResponse === "function";
}

function replay(response: unknown): Response {
  if (!isStoredResponse(response)) {
    throw new HoldfastError(
      "corrupt-record",
      "Cannot replay the response as it was not written by this helper",
    );
  }
  return response.body === undefined ? notRetained(response.status) : replayed(response);
}

function notRetained(status?: number): Response {
  const served = status === undefined
    ? "The request was served"
    : `The request was served with status ${status}`;
  return problem(409, "The response was not retained", { detail: `${served}; its response was not kept` });
}

/**
 * A server error, a missing right and "not now" may be different next time; everything else is the answer.
 */
function isKept(status: number): boolean {
  return status < 500 && ![401, 403, 408, 409, 425, 429].includes(status);
}
