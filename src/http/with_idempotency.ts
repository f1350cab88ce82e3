/** Idempotency around a fetch handler, and the one implementation of Hono's `idempotency()`. */
import { toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { isOutage, isStoreFull } from "../fault_class.ts";
import { idempotencyKeyProblem, readIdempotencyKey } from "./idempotency_key.ts";
import { requestFingerprint } from "./request_fingerprint.ts";
import { maxStoredBody } from "./stored_response.ts";
import { createIdempotency } from "../idempotency/create_idempotency.ts";
import type { Idempotency } from "../idempotency/idempotency.ts";
import { sha256OfAny } from "../sha256.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import {
  checkFunction,
  checkInteger,
  checkNeededOptions,
  checkOneOf,
  type OptionNames,
  shown,
} from "../validate.ts";
import { Mounts, twice } from "./_nested.ts";
import { sameOptions } from "./_same_options.ts";
import {
  around,
  type BodyReader,
  type Exchange,
  type FetchHandler,
  type Helper,
  perStore,
} from "./exchange.ts";
import { safely } from "../safely.ts";
import type { ClaimedRequest, HttpIdempotencyOptions, IdempotencyContext } from "./http_idempotency.ts";
import { notRetained, replay, Serving, type ServingOptions } from "./_idempotent_serving.ts";
import { problemResponse, unavailable } from "../response.ts";
import { readBody } from "./request_body.ts";

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
const NAME = "idempotency";
/** The default of `maxHold`, in milliseconds. */
const LONGEST_HOLD = 3_600_000;
const mounts = /* @__PURE__ */ new Mounts<ClaimedRequest>();

/**
 * Serves a request once per Idempotency-Key; duplicates get the first answer, with `Idempotency-Replayed:
 * true`.
 *
 * 400: no key, or none that can be read. 409 with `Retry-After`: the first request is still being served. 409
 * without: it was served, and its answer was not kept. 422: the key was used for another request. 413: the
 * body is too large to compare. 503: the store is unavailable.
 *
 * Answers of 2xx, 3xx and most 4xx are kept, thrown HTTP errors included. After a 401, 403, 409, 423, 425,
 * 429 or 5xx, and after any other error, the next request with the key runs again. So it does after a 408 or
 * 504, but the handler may still run then (`hono/timeout`): the key stays taken for the rest of its lease. A
 * handler that ends in one of these after its side effect does it twice, unless it calls `pin()` first.
 * `storeIf` says otherwise. A 499 is never kept: lock() and throttle() give it to a client that has left.
 *
 * The handler runs to its end also when its client leaves: on Workers it is handed to `waitUntil`. An answer
 * that is complete when the handler returns is stored before it leaves. One that streams is passed on as it
 * comes and stored at its end. Its client has seen the status, so it never runs again: where its body is too
 * large, breaks, or streams for longer than `maxHold`, duplicates learn by a 409 that the work was done and
 * its answer was not kept. Only when the process ends in the middle of the stream (Workers end it 30 s after
 * the client left), the next request runs after the lease.
 *
 * Mounted twice with equal options, on an app and on its route or around each other, it is one. With other
 * options but the same key of the same store the request fails with a `TypeError`.
 *
 * A session changes in its own store, and no order of the two saves both when that store fails after the
 * work. With the session outside, the first request gets a 503, its retry the kept answer, and the changes of
 * the session are lost. With the session inside, the 503 is not kept: the retry does the work again, unless
 * the handler called `pin()`. Put it outside, and keep what belongs to the work (that the cart is paid) with
 * the work, not in the session alone.
 *
 * Cookies are never stored, and a replay does not run the handler: it sets none. A route that logs in must
 * not be idempotent, or a client whose first answer was lost is told that it is in, and is not. A login is
 * safe to send again as it is: each one ends the session before.
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
  const helper = idempotencyHelper(options, readBody);
  return around(handler, "idempotency", options.waitUntil, helper) as ReturnType<
    typeof withIdempotency<Context>
  >;
}

/** The idempotency of requests, whatever framework they come through. */
export function idempotencyHelper<Context>(
  options: HttpIdempotencyOptions<Context>,
  readBody: BodyReader<Context>,
): Helper<Context, ClaimedRequest | undefined> {
  checkOptions(options);
  const { required = true, methods = ["POST", "PATCH"], wait } = options;
  const { whenUnavailable = "deny", name = NAME } = options;
  const onFault = safely(options.onFault);
  const protectedMethods = methods.map((method) => method.toUpperCase());
  const openedBy = perStore(options.store, (store) => openStore(store, options, onFault));

  return async (exchange, serve) => {
    const { request } = exchange;
    // fetch() writes some methods in upper case, but not PATCH.
    if (!protectedMethods.includes(request.method.toUpperCase())) return (await serve(undefined)).response;
    const header = request.headers.get("idempotency-key") ?? undefined;
    if (header === undefined && !required) return (await serve(undefined)).response;
    const identity = await identify(exchange, header, options);
    if (identity instanceof Response) return identity;
    const { id, key } = identity;
    const { store, keys, serving: settings } = openedBy(exchange.context);
    const mount = { store, name, key: id, options };
    const handed = exchange.get("idempotency");
    const holder = mounts.holder(mount, handed);
    if (holder !== undefined) {
      if (!sameOptions(holder.options, options)) throw twice(TASK, "idempotency() or withIdempotency()");
      return (await serve(undefined)).response;
    }
    const fingerprint = await fingerprintOf(exchange, readBody, options);
    if (fingerprint instanceof Response) return fingerprint;
    const claimAndServe = async (): Promise<Response> => {
      let begun: Awaited<ReturnType<Idempotency["begin"]>>;
      try {
        const waitUntil = (work: Promise<unknown>) => void exchange.waitUntil(work);
        begun = await keys.begin(id, { fingerprint, wait, waitUntil });
      } catch (error) {
        if (error instanceof HoldfastError) onFault(error);
        if (!isOutage(error)) throw error;
        // Strangers may have filled the store with keys: that must not open it.
        if (whenUnavailable !== "allow" || isStoreFull(error)) return unavailable();
        return (await serve(undefined)).response;
      }
      if (begun.state !== "new") return refusal(begun);
      const serving = new Serving(exchange, keys, begun.claim, settings);
      return await serving.run(key, (claimed) => {
        mounts.note(mount, claimed, handed);
        return serve(claimed);
      });
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

/** The values kept per store. */
interface OpenedStore {
  readonly store: AtomicStore;
  readonly keys: Idempotency;
  readonly serving: ServingOptions;
}

function openStore<Context>(
  store: AtomicStore,
  options: HttpIdempotencyOptions<Context>,
  onFault: (error: unknown) => void,
): OpenedStore {
  const { lease = "30s", retention, timeout = "10s", name = NAME, maxResponse, storeIf = isKept } = options;
  const most = maxStoredBody(store.limits.maxValueLength);
  if (maxResponse !== undefined && maxResponse > most) {
    throw new RangeError(
      `Cannot ${TASK} as 'maxResponse' must be at most ${most} on ${store.engine}: current value is ${maxResponse}`,
    );
  }
  const { maxHold = Math.max(LONGEST_HOLD, toMilliseconds(lease, "lease")) } = options;
  const longest = toMilliseconds(maxHold, "maxHold");
  return {
    store,
    keys: createIdempotency(store, { lease, maxHold, retention, timeout, name, onFault: options.onFault }),
    serving: {
      maxResponse: maxResponse ?? Math.min(MEBIBYTE, most),
      isDefaultMax: maxResponse === undefined,
      // While the key is still held there must be time to note that the work was done, with all tries.
      longestStream: longest - Math.min(toMilliseconds(timeout, "timeout"), longest / 10),
      storeIf,
      onFault,
    },
  };
}

/** The name of a request's work. */
interface Identity {
  /** The key in the store. */
  readonly id: string;
  /** The key that the client sent. */
  readonly key: string;
}

/** Reads the key and the caller of a request, or answers why it cannot. */
async function identify<Context>(
  exchange: Exchange<Context>,
  header: string | undefined,
  { strict = false, scope }: HttpIdempotencyOptions<Context>,
): Promise<Identity | Response> {
  if (header === undefined) {
    return problemResponse(400, "Idempotency-Key is missing", {
      detail: "This operation needs an Idempotency-Key header",
    });
  }
  const key = readIdempotencyKey(header, strict);
  if (key === undefined) {
    return problemResponse(400, "Idempotency-Key is malformed", {
      detail: idempotencyKeyProblem(header, strict),
    });
  }
  const caller = scope === "public" ? "public" : callerName(await scope(exchange.request, exchange.context));
  const id = await sha256OfAny(`${caller.length}:${caller}:${key}`);
  return { id, key };
}

/** Reads what a request asks for, or answers why it cannot. */
async function fingerprintOf<Context>(
  exchange: Exchange<Context>,
  readBody: BodyReader<Context>,
  { maxRequest = MEBIBYTE, fingerprint }: HttpIdempotencyOptions<Context>,
): Promise<string | Response> {
  const { request } = exchange; // before its body is read: after that a framework may have to make another
  const body = await readBody(
    exchange,
    maxRequest,
    "Cannot compare the request as its body is already being read: put idempotency before that",
  );
  if (body === undefined) {
    return problemResponse(413, "The request is too large", {
      detail: `At most ${maxRequest} bytes can be compared`,
    });
  }
  if (fingerprint === undefined) return await requestFingerprint(request, body);
  const given: unknown = await fingerprint(exchange.request, exchange.context, body);
  if (typeof given === "string" && given !== "") return given;
  throw new TypeError(
    `Cannot ${TASK} as 'fingerprint' must return a non-empty string: current value is ${shown(given)}`,
  );
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
      return problemResponse(409, "A request is outstanding for this Idempotency-Key", { retryAfter: 1000 });
    case "mismatch":
      return problemResponse(422, "Idempotency-Key is already used", {
        detail: "The key belongs to another request",
      });
    case "not-retained":
      return notRetained();
  }
}

/**
 * A server error, a missing right and "not now" may be different next time; everything else is the answer.
 */
function isKept(status: number): boolean {
  return status < 500 && ![401, 403, 408, 409, 423, 425, 429].includes(status);
}
