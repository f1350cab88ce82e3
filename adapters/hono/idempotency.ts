import { type Duration, toMilliseconds } from "../../src/duration.ts";
import { HoldfastError } from "../../src/errors.ts";
import { faultClass, isStoreFull } from "../../src/fault_class.ts";
import { idempotencyKeyProblem, readIdempotencyKey } from "../../src/http/idempotency_key.ts";
import { requestFingerprint } from "../../src/http/request_fingerprint.ts";
import { ResponseTee, type TeeOutcome } from "../../src/http/response_tee.ts";
import {
  around,
  isStoredResponse,
  maxStoredBody,
  replayed,
  type StoredResponse,
  storedResponse,
} from "../../src/http/stored_response.ts";
import { createIdempotency } from "../../src/idempotency/create_idempotency.ts";
import type { Claim, Completion, Hold, Idempotency } from "../../src/idempotency/idempotency.ts";
import { sha256OfAny } from "../../src/sha256.ts";
import type { AtomicStore } from "../../src/store/atomic_store.ts";
import {
  checkFunction,
  checkInteger,
  checkNeededOptions,
  checkOneOf,
  type OptionNames,
} from "../../src/validate.ts";
import {
  perStore,
  replace,
  type RouteContext,
  type RouteMiddleware,
  type StoreSource,
  waitUntil,
} from "./_context.ts";
import { readBody } from "./_request_body.ts";
import { problem, unavailable } from "./problem.ts";

/**
 * Options of {@linkcode idempotency}.
 *
 * @category Hono
 */
export interface IdempotencyMiddlewareOptions {
  /** The store of the keys, or how to get it from a request. */
  readonly store: StoreSource;
  /**
   * The caller that a key belongs to: two callers never see each other's answers. `"public"` means that all
   * callers share their keys. A request without a caller is an error: mount this after what tells who calls.
   */
  // deno-lint-ignore no-explicit-any
  readonly scope: "public" | ((c: any) => string | Promise<string>);
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
  // deno-lint-ignore no-explicit-any
  readonly fingerprint?: ((c: any, body: Uint8Array<ArrayBuffer>) => string | Promise<string>) | undefined;
  /**
   * The behavior while the store is unavailable: `"deny"` answers a 503, `"allow"` runs the handler
   * unprotected. A store that is full never lets it run, as strangers may have filled it; one that is
   * misconfigured always throws.
   * @default {"deny"}
   */
  readonly whenUnavailable?: "deny" | "allow" | undefined;
  /**
   * Called with every fault: a store that does not answer or refuses, an answer that could not be stored, a
   * `storeIf` that threw. Must not throw.
   */
  readonly onFault?: ((error: unknown) => void) | undefined;
  /**
   * The namespace of the keys.
   * @default {"idempotency"}
   */
  readonly name?: string | undefined;
}

/**
 * `new Hono<{ Variables: IdempotencyVariables }>()` makes `c.var.idempotency` typed.
 *
 * @category Hono
 */
export interface IdempotencyVariables {
  /** This request's claim. */
  idempotency: {
    /** The key the client sent. */
    readonly key: string;
    /** 1, and one more each time a crashed request was replaced. */
    readonly attempt: number;
    /** Aborts when another request took the key over, or may have: at `maxHold` at the latest. */
    readonly signal: AbortSignal;
    /** Notes that the side effect happened: from here on every outcome is kept, also a 500. */
    pin(): void;
  };
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
} satisfies OptionNames<IdempotencyMiddlewareOptions>;

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
 * run (`hono/timeout`).
 *
 * Cookies are never stored, and a replay does not run the handler: it sets none. A route that logs in must not
 * be idempotent, or a client whose first answer was lost is told that it is in, and is not. A login is safe to
 * send again as it is: each one ends the session before.
 *
 * @see https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
 * @throws {TypeError | RangeError} when an option is unknown or out of its range
 * @category Hono
 * @example
 * ```ts
 * import { Hono } from "hono";
 * import { memoryStore } from "@holdfast/edge";
 * import { idempotency } from "@holdfast/edge/hono";
 *
 * let charges = 0;
 * const app = new Hono();
 * app.post(
 *   "/payments",
 *   idempotency({ store: memoryStore(), scope: "public" }),
 *   (c) => c.json({ charge: ++charges }),
 * );
 * const headers = { "Idempotency-Key": '"order-17"' };
 * const pay = () => app.request("/payments", { method: "POST", headers });
 * await pay();
 * const second = await pay();
 * const replayed = second.headers.get("idempotency-replayed") === "true";
 * if (charges !== 1 || !replayed) throw new Error("charged twice");
 * ```
 */
export function idempotency(options: IdempotencyMiddlewareOptions): RouteMiddleware {
  checkOptions(options);
  const { required = true, methods = ["POST", "PATCH"], wait, storeIf = isKept } = options;
  const { whenUnavailable = "deny", onFault = () => {} } = options;
  const protectedMethods = methods.map((method) => method.toUpperCase());
  const openedBy = perStore(options.store, (store) => openStore(store, options));

  return async function idempotency(c: RouteContext, next: () => Promise<void>): Promise<Response | void> {
    // fetch() writes some methods in upper case, but not PATCH.
    if (!protectedMethods.includes(c.req.method.toUpperCase())) return await next();
    const header = c.req.header("idempotency-key");
    if (header === undefined && !required) return await next();
    const identity = await identify(c, header, options);
    if (identity instanceof Response) return identity;
    const { id, key, fingerprint } = identity;
    const { keys, maxResponse } = openedBy(c);
    const claimAndServe = async (): Promise<Response | void> => {
      let begun: Awaited<ReturnType<Idempotency["begin"]>>;
      try {
        begun = await keys.begin(id, { fingerprint, wait, waitUntil: (work) => void waitUntil(c, work) });
      } catch (error) {
        if (error instanceof HoldfastError) onFault(error);
        if (faultClass(error) !== "outage") throw error;
        // Strangers may have filled the store with keys: that must not open it.
        return whenUnavailable === "allow" && !isStoreFull(error) ? await next() : unavailable();
      }
      if (begun.state !== "new") return refusal(begun);
      await new Serving(c, keys, begun.claim, key, { maxResponse, storeIf, onFault }).run(next);
    };
    // From the claim on, a client that leaves must not end the work: the key would stay taken, or the work
    // run again.
    const served = claimAndServe();
    waitUntil(c, served.catch(() => {}));
    return await served;
  };
}

function checkOptions(options: IdempotencyMiddlewareOptions): void {
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
  for (const name of ["storeIf", "fingerprint", "onFault"] as const) checkFunction(TASK, name, options[name]);
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

function openStore(store: AtomicStore, options: IdempotencyMiddlewareOptions): OpenedStore {
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
async function identify(
  c: RouteContext,
  header: string | undefined,
  { strict = false, scope, maxRequest = MEBIBYTE, fingerprint }: IdempotencyMiddlewareOptions,
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
  const caller = scope === "public" ? "public" : callerName(await scope(c));
  const body = await readBody(
    c,
    maxRequest,
    "Cannot compare the request as its body is already being read: mount idempotency() before that",
  );
  if (body === undefined) {
    return problem(413, "The request is too large", {
      detail: `At most ${maxRequest} bytes can be compared`,
    });
  }
  const id = await sha256OfAny(`${caller.length}:${caller}:${key}`);
  const print = fingerprint === undefined
    ? await requestFingerprint(c.req.raw, body)
    : await fingerprint(c, body);
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
  readonly #c: RouteContext;
  readonly #keys: Idempotency;
  readonly #claim: Claim;
  readonly #hold: Hold;
  readonly #options: ServingOptions;
  #pinned = false;

  constructor(c: RouteContext, keys: Idempotency, claim: Claim, key: string, options: ServingOptions) {
    this.#c = c;
    this.#keys = keys;
    this.#claim = claim;
    this.#options = options;
    const hold = this.#hold = keys.hold(claim);
    c.set("idempotency", {
      key,
      attempt: claim.attempt,
      pin: () => void (this.#pinned = true),
      get signal() { // made for those who look: most handlers do not
        return hold.signal;
      },
    });
  }

  /** Runs the handler and settles the claim by its answer. */
  async run(next: () => Promise<void>): Promise<void> {
    const c = this.#c;
    try {
      await next();
      const { status, body } = c.res;
      switch (this.#fate(status)) {
        case "lapse":
          return this.#hold.lapse();
        case "free":
          return await this.#giveUp(status);
        case "keep":
          if (body !== null) return await this.#keepBody(c.res, body);
          this.#overtake(await this.#keep(storedResponse(c.res, new Uint8Array())));
      }
    } catch (thrown) {
      // The handler threw something that is no Error, which Hono does not answer; or its response was read
      // already.
      await this.#giveUp(500);
      throw thrown;
    }
  }

  /** Decides about the claim by the status of the answer. */
  #fate(status: number): "keep" | "free" | "lapse" {
    if (status < 200) return "free"; // an upgrade or a network error comes once
    if (this.#pinned) return "keep";
    const { error } = this.#c;
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

  async #keepBody(response: Response, body: ReadableStream<Uint8Array>): Promise<void> {
    const tee = new ResponseTee(body, this.#options.maxResponse);
    const outcome = await tee.atHand();
    if (outcome?.state === "whole" && outcome.bytes !== undefined) {
      const copy = around(response, outcome.bytes, outcome.bytes);
      replace(this.#c, copy);
      return this.#overtake(await this.#keep(storedResponse(copy, outcome.bytes)));
    }
    const { signal } = this.#hold;
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
      replace(this.#c, around(response, passed, tee.begun));
    });
    waitUntil(this.#c, settled);
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
  #overtake(completion: Completion | void): void {
    if (completion?.state !== "superseded" || !completion.completed || completion.response === undefined) {
      return;
    }
    const answer = replay(completion.response);
    // Fields that cors() around this middleware wrote belong to this exchange, not to the replaced answer.
    for (const [name, value] of this.#c.res.headers) {
      if (name.startsWith("access-control-")) answer.headers.set(name, value);
    }
    replace(this.#c, answer);
  }
}

function isHttpError(error: unknown): boolean {
  return typeof (error as { getResponse?: unknown }).getResponse === "function";
}

function replay(response: unknown): Response {
  if (!isStoredResponse(response)) {
    throw new HoldfastError(
      "corrupt-record",
      "Cannot replay the response as it was not written by idempotency()",
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
