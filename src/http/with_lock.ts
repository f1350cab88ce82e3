/** A lock around a fetch handler, and the one implementation of Hono's `lock()`. */
import { deferred } from "../deferred.ts";
import { HoldfastError } from "../errors.ts";
import { isOutage } from "../fault_class.ts";
import { planAcquire } from "../lock/acquire_plan.ts";
import { createLocks } from "../lock/create_locks.ts";
import type { AcquireOptions, Lock, Locks } from "../lock/lock.ts";
import { toMilliseconds } from "../duration.ts";
import { checkFunction, checkNeededOptions, checkOneOf, type OptionNames } from "../validate.ts";
import { type Mount, Mounts, twice } from "./_nested.ts";
import { sameOptions } from "./_same_options.ts";
import { around, type Exchange, type FetchHandler, type Helper, perStore, type Served } from "./exchange.ts";
import { safely } from "../safely.ts";
import type { HttpLockOptions, LockContext } from "./http_lock.ts";
import { problemResponse, unavailable, withTextType } from "../response.ts";

const OPTIONS = {
  store: true,
  key: true,
  ttl: true,
  timeout: true,
  wait: true,
  fair: true,
  permits: true,
  mode: true,
  lockDelay: true,
  renew: true,
  maxHold: true,
  status: true,
  until: true,
  name: true,
  whenUnavailable: true,
  onFault: true,
  waitUntil: true,
} satisfies OptionNames<HttpLockOptions>;

const TASK = "lock requests";
const NAME = "lock";
/** The title of the answer to a key that no store takes. */
const NO_KEY = "The request names nothing that can be locked";
const mounts = /* @__PURE__ */ new Mounts<Lock>();

/**
 * Lets one request at a time through per key, or as many as `permits` says. The handler has the lock as
 * `context.lock`, with its signal and fencing token. The lock is released before the response leaves (see
 * `until`); where the runtime has `waitUntil`, the release also survives a client that went away. A request
 * that finds the lock taken gets a 409 or 423 with `Retry-After`; when the store is down, the answer is a 503
 * and the handler does not run.
 *
 * Mounted twice with equal options, on an app and on its route or around each other, it is one. With other
 * options but the same key of the same store the request fails with a `TypeError`, unless both share the
 * lock.
 *
 * @throws {TypeError | RangeError} when an option is missing, unknown or out of its range
 * @category HTTP
 * @example
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { withLock } from "@holdfast/edge/http";
 *
 * const handler = withLock(
 *   (_request, { lock }) => Response.json({ fencingToken: lock.fencingToken }),
 *   { store: memoryStore(), key: (request) => new URL(request.url).pathname },
 * );
 * const response = await handler(new Request("https://example.com/reports/7", { method: "POST" }));
 * if (response.status !== 200) throw new Error("unexpected");
 * ```
 */
export function withLock<Context = unknown>(
  handler: FetchHandler<Context & LockContext>,
  options: HttpLockOptions<Context>,
): (request: Request, context?: Omit<Context, keyof LockContext>) => Promise<Response> {
  return around(handler, "lock", Object(options).waitUntil, lockHelper(options)) as ReturnType<
    typeof withLock<Context>
  >;
}

/** The lock of requests, whatever framework they come through. */
export function lockHelper<Context>(options: HttpLockOptions<Context>): Helper<Context, Lock> {
  checkNeededOptions(TASK, options, OPTIONS, "'store' and 'key'");
  const { store, key, status = 409, until = "response", name = NAME, whenUnavailable = "deny", onFault } =
    options;
  const { waitUntil: _waitUntil, store: _store, key: _key, status: _status, until: _until, ...others } =
    options;
  const { name: _name, whenUnavailable: _when, onFault: _onFault, ...rest } = others;
  checkOneOf(TASK, "status", status, [409, 423, 429, 503]);
  checkOneOf(TASK, "until", until, ["response", "body"]);
  checkOneOf(TASK, "whenUnavailable", whenUnavailable, ["deny", "throw"]);
  for (const option of ["onFault", "waitUntil"] as const) checkFunction(TASK, option, options[option]);
  if (typeof key !== "function") throw new TypeError(`Cannot ${TASK} as 'key' must be a function`);
  const timeout = rest.timeout ?? "3s";
  const acquire: AcquireOptions = { ...rest, ttl: rest.ttl ?? "30s", timeout };
  const ttl = toMilliseconds(acquire.ttl, "ttl");
  planAcquire(acquire, toMilliseconds(timeout, "timeout")); // bad options are refused here, not at the first request
  const openedBy = perStore(store, (store) => ({ store, locks: createLocks(store, { name, timeout }) }));
  const report = safely(onFault);
  /** The answer to a fault, or the fault itself. */
  const refuse = (error: unknown): Response => {
    if (!(error instanceof HoldfastError)) throw error;
    report(error);
    if (!isOutage(error) || whenUnavailable === "throw") throw error;
    return unavailable();
  };
  return async (exchange, run) => {
    const { store, locks } = openedBy(exchange.context);
    const found: unknown = await key(exchange.request, exchange.context);
    if (typeof found !== "string") {
      throw new TypeError(`Cannot ${TASK} as 'key' must return a string: current type is ${typeof found}`);
    }
    if (found === "" || !found.isWellFormed()) {
      return problemResponse(400, NO_KEY, { detail: "The name is empty or not well-formed" });
    }
    const mount = { store, name, key: found, options };
    const handed = exchange.get("lock");
    const holder = mounts.holder(mount, handed);
    if (holder !== undefined && isOne(holder, mount)) return (await run(holder.value)).response;
    const unread = until === "body" ? new AbortController() : undefined;
    const entry = await enter(locks, found, acquire, exchange, unread?.signal).catch(refuse);
    if (entry instanceof Response) return entry;
    if ("remaining" in entry) {
      return problemResponse(status, "Another request is working on this", { retryAfter: entry.remaining });
    }
    mounts.note(mount, entry.lock, handed);
    return await serve(exchange, run, { lock: entry.lock, unread, ttl, report });
  };
}

/**
 * Whether two mounts of one key are one lock. Those that share it with others are two: they find room for
 * both.
 *
 * @throws {TypeError} when the inner one could never get the lock that the outer one has
 */
function isOne(outer: Mount, inner: Mount): boolean {
  if (sameOptions(outer.options, inner.options)) return true;
  if (isShared(outer.options) && isShared(inner.options)) return false;
  throw twice(TASK, "lock() or withLock()");
}

function isShared({ mode, permits = 1 }: Pick<AcquireOptions, "mode" | "permits">): boolean {
  return mode === "read" || permits > 1;
}

/** The lock, or how long others have it. */
async function enter(
  locks: Locks,
  key: string,
  options: AcquireOptions,
  exchange: Exchange<unknown>,
  unread: AbortSignal | undefined,
): Promise<{ readonly lock: Lock } | { readonly remaining: number } | Response> {
  const { signal } = exchange.request;
  const acquiring = locks.acquire(key, {
    ...options,
    signal: unread === undefined ? signal : AbortSignal.any([signal, unread]),
    waitUntil: (work) => void exchange.waitUntil(work),
  });
  // A client that leaves now ends this request, not the call: what it got is released, or its lease would
  // last.
  exchange.waitUntil(acquiring.catch(() => {}));
  try {
    const lock = await acquiring;
    if (lock !== undefined) return { lock };
    return { remaining: (await locks.inspect(key)).remaining };
  } catch (error) {
    // The store refuses what is too long for it, before anything is sent: bad input of the client.
    if (error instanceof RangeError) return problemResponse(400, NO_KEY, { detail: "The name is too long" });
    throw error;
  }
}

/** The arguments of {@linkcode serve} besides the request. */
interface Serving {
  readonly lock: Lock;
  /**
   * Aborts the lock's signal and ends renewal when the body is not read. `undefined`: the lock ends with the
   * handler's answer.
   */
  readonly unread: AbortController | undefined;
  /** The length of the lease, in milliseconds. */
  readonly ttl: number;
  readonly report: (error: unknown) => void;
}

/** Runs the handler under the lock, and releases it whatever happens to the request. */
async function serve(
  exchange: Exchange<unknown>,
  run: (lock: Lock) => Promise<Served>,
  { lock, unread, ttl, report }: Serving,
): Promise<Response> {
  let streams = false;
  const release = async () => {
    const result = await lock.release().catch(report);
    if (result === "unconfirmed") {
      report(
        new HoldfastError("backend-unavailable", "Cannot confirm that the lock was released", {
          retryable: true,
          ambiguous: true,
        }),
      );
    }
  };
  // The runtime lets this go on after the client has left: the handler to its end, and the release after it.
  const work = (async () => {
    try {
      const { response, error } = await run(lock);
      if (unread === undefined || response.body === null || error) return response;
      if (exchange.request.method === "HEAD") return withoutBody(response);
      const read = whenRead(await withTextType(response), exchange, { release, unread, ttl });
      streams = true;
      return read;
    } finally {
      if (!streams) await release();
    }
  })();
  exchange.waitUntil(work.catch(() => {}));
  return await work;
}

/**
 * Drops the body of a HEAD response, which a server would drop unread: work that streams must end with the
 * lock.
 */
function withoutBody(response: Response): Response {
  response.body!.cancel().catch(() => {}); // of a body that is read elsewhere already
  return new Response(null, response);
}

/**
 * The longest pause of a reader, in milliseconds; an answer may first pass slow middleware on its way out.
 */
const LONGEST_PAUSE = 10_000;

/** The response, which releases the lock when its body comes to an end, whichever way. */
function whenRead(
  response: Response,
  exchange: Exchange<unknown>,
  { release, unread, ttl }: {
    readonly release: () => Promise<void>;
    readonly unread: AbortController;
    readonly ttl: number;
  },
): Response {
  const reader = response.body!.getReader();
  const { signal } = exchange.request;
  const ended = deferred<void>();
  // Keeps the request alive until the release is through; the timer below bounds a reader that never comes.
  exchange.waitUntil(ended.promise);
  let timer: ReturnType<typeof setTimeout> | undefined;
  let ending: Promise<void> | undefined;
  const end = () => {
    clearTimeout(timer);
    signal.removeEventListener("abort", leave);
    return ending ??= release().finally(() => ended.resolve());
  };
  const cancel = async (reason: unknown) => {
    await Promise.all([reader.cancel(reason).catch(() => {}), end()]);
  };
  const leave = () => void cancel(signal.reason);
  const pause = Math.min(LONGEST_PAUSE, ttl);
  /** Ends the lock, and the body with it, unless it is read in time. */
  const watch = (controller: ReadableStreamDefaultController<Uint8Array>) => {
    timer = setTimeout(() => {
      const error = new HoldfastError(
        "lock-lost",
        `Cannot hold the lock as nothing read the body for ${pause} ms`,
      );
      unread.abort(error);
      controller.error(error);
      void cancel(error);
    }, pause);
  };
  const body = new ReadableStream<Uint8Array>({
    start: watch,
    async pull(controller) {
      clearTimeout(timer);
      try {
        const { done, value } = await reader.read();
        if (!done) {
          controller.enqueue(value);
          if (ending === undefined) watch(controller);
          return;
        }
        await end(); // before the reader knows that it was the last: it may come back at once
        controller.close();
      } catch (error) {
        await end();
        controller.error(error);
      }
    },
    cancel,
  }, { highWaterMark: 0 });
  // A client that left while the handler worked does not come back for the body.
  if (signal.aborted) leave();
  else signal.addEventListener("abort", leave, { once: true });
  return new Response(body, response);
}
