import { deferred } from "../../src/deferred.ts";
import { HoldfastError } from "../../src/errors.ts";
import { faultClass } from "../../src/fault_class.ts";
import { planAcquire } from "../../src/lock/acquire_plan.ts";
import { createLocks } from "../../src/lock/create_locks.ts";
import type { AcquireOptions, Lock, Locks } from "../../src/lock/lock.ts";
import { toMilliseconds } from "../../src/duration.ts";
import { checkFunction, checkNeededOptions, checkOneOf, type OptionNames } from "../../src/validate.ts";
import {
  perStore,
  replace,
  type RouteContext,
  type RouteMiddleware,
  type StoreSource,
  waitUntil,
} from "./_context.ts";
import { problem, unavailable } from "./problem.ts";

/**
 * Options of {@linkcode lock}: how to acquire, and how to respond when the lock is taken.
 *
 * @category Hono
 */
export interface LockMiddlewareOptions extends Omit<AcquireOptions, "ttl" | "signal" | "waitUntil"> {
  /** The store of the locks, or how to get it from a request. */
  readonly store: StoreSource;
  /**
   * The key on which one request at a time may work. A key that is empty, too long or no text is answered
   * with a 400: it usually comes from the client.
   */
  // deno-lint-ignore no-explicit-any
  readonly key: (c: any) => string | Promise<string>;
  /**
   * The length of the lease, unless it is extended.
   * @default {"30s"}
   */
  readonly ttl?: AcquireOptions["ttl"] | undefined;
  /**
   * The longest time for one call to the store: a store that does not reply holds a request no longer than
   * `wait` and this.
   * @default {"3s"}
   */
  readonly timeout?: AcquireOptions["timeout"] | undefined;
  /**
   * The status of a response when the lock is taken: 409 Conflict or 423 Locked.
   * @default {409}
   */
  readonly status?: 409 | 423 | undefined;
  /**
   * How long the lock is held: until the handler answered, or until the last byte of its response was read
   * (or the reader went away). A handler that works while it streams needs `"body"`. Such a lock ends sooner
   * where nothing reads:
   *
   * - HEAD: the body is cancelled and the lock released when the handler has answered.
   * - A body of which nothing is read for 10 s (for `ttl`, where that is shorter), renewed or not, is cancelled
   *   and fails, and the lock is released: an outer middleware dropped it, the client left (workerd does not
   *   tell), or it pauses. Waiting for the handler to produce more is no pause.
   * @default {"response"}
   */
  readonly until?: "response" | "body" | undefined;
  /**
   * The namespace of the locks.
   * @default {"lock"}
   */
  readonly name?: string | undefined;
  /**
   * The choice while the store is unavailable: `"deny"` answers 503, `"throw"` hands the fault
   * to the app. A lock never lets a request pass without it.
   * @default {"deny"}
   */
  readonly whenUnavailable?: "deny" | "throw" | undefined;
  /**
   * Receives every fault of the store, also those that are answered with a 503; a misconfiguration is thrown
   * besides.
   */
  readonly onFault?: ((error: unknown) => void) | undefined;
}

/**
 * `new Hono<{ Variables: LockVariables }>()` makes `c.var.lock` typed.
 *
 * @category Hono
 */
export interface LockVariables {
  /** The lock this request holds. */
  lock: Lock;
}

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
} satisfies OptionNames<LockMiddlewareOptions>;

/**
 * Lets one request at a time through per key, or as many as `permits` says. The handler has the lock as
 * `c.var.lock`, with its signal and fencing token. The lock is released before the response leaves (see
 * `until`); where the runtime has `waitUntil`, the release also survives a client that went away. A request
 * that finds the lock taken gets a 409 or 423 with `Retry-After`; when the store is down, the answer is a 503
 * and the handler does not run.
 *
 * @category Hono
 * @example
 * ```ts
 * import { Hono } from "hono";
 * import { memoryStore } from "@holdfast/edge";
 * import { lock, type LockVariables } from "@holdfast/edge/hono";
 *
 * const app = new Hono<{ Variables: LockVariables }>();
 * app.post("/reports/:id", lock({ store: memoryStore(), key: (c) => c.req.param("id") }), (c) => {
 *   return c.json({ fencingToken: c.var.lock.fencingToken });
 * });
 * const response = await app.request("/reports/7", { method: "POST" });
 * if (response.status !== 200) throw new Error("unexpected");
 * ```
 */
export function lock(options: LockMiddlewareOptions): RouteMiddleware {
  checkNeededOptions("make lock()", options, OPTIONS, "'store' and 'key'");
  const { store, key, status = 409, until = "response", name, whenUnavailable = "deny", onFault, ...rest } =
    options;
  checkOneOf("make lock()", "status", status, [409, 423]);
  checkOneOf("make lock()", "until", until, ["response", "body"]);
  checkOneOf("make lock()", "whenUnavailable", whenUnavailable, ["deny", "throw"]);
  checkFunction("make lock()", "onFault", onFault);
  if (typeof key !== "function") throw new TypeError("Cannot make lock() as 'key' must be a function");
  const timeout = rest.timeout ?? "3s";
  const acquire: AcquireOptions = { ...rest, ttl: rest.ttl ?? "30s", timeout };
  const ttl = toMilliseconds(acquire.ttl, "ttl");
  planAcquire(acquire, toMilliseconds(timeout, "timeout")); // bad options are refused here, not at the first request
  const locks = perStore(store, (store) => createLocks(store, { name, timeout }));
  const report = (error: unknown) => {
    try {
      onFault?.(error);
    } catch {
      // a failing listener changes no answer
    }
  };
  /** The answer to a fault, or the fault itself. */
  const refuse = (error: unknown): Response => {
    if (!(error instanceof HoldfastError)) throw error;
    report(error);
    if (faultClass(error) !== "outage" || whenUnavailable === "throw") throw error;
    return unavailable();
  };
  return async function lock(c: RouteContext, next: () => Promise<void>): Promise<Response | void> {
    const mine = locks(c);
    const found = await key(c);
    if (!isKey(found)) return problem(400, "The request names nothing that can be locked");
    const unread = until === "body" ? new AbortController() : undefined;
    const entry = await enter(mine, found, acquire, c, unread?.signal).catch(refuse);
    if (entry instanceof Response) return entry;
    if ("remaining" in entry) {
      return problem(status, "Another request is working on this", { retryAfter: entry.remaining });
    }
    return await serve(c, next, { lock: entry.lock, unread, ttl, report });
  };
}

/** The lock, or how long others have it. */
async function enter(
  locks: Locks,
  key: string,
  options: AcquireOptions,
  c: RouteContext,
  unread: AbortSignal | undefined,
): Promise<{ readonly lock: Lock } | { readonly remaining: number } | Response> {
  const { signal } = c.req.raw;
  const acquiring = locks.acquire(key, {
    ...options,
    signal: unread === undefined ? signal : AbortSignal.any([signal, unread]),
    waitUntil: (work) => void waitUntil(c, work),
  });
  // A client that leaves now ends this request, not the call: what it got is released, or its lease would
  // last.
  waitUntil(c, acquiring.catch(() => {}));
  try {
    const lock = await acquiring;
    if (lock !== undefined) return { lock };
    return { remaining: (await locks.inspect(key)).remaining };
  } catch (error) {
    // The store refuses what is too long for it, before anything is sent: bad input of the client.
    if (error instanceof RangeError) {
      return problem(400, "The request names nothing that can be locked");
    }
    throw error;
  }
}

/** What {@linkcode serve} is handed besides the request. */
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
  c: RouteContext,
  next: () => Promise<void>,
  { lock, unread, ttl, report }: Serving,
): Promise<void> {
  c.set("lock", lock);
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
      await next();
      if (unread === undefined || c.res.body === null || c.error) return;
      if (c.req.method === "HEAD") return withoutBody(c);
      c.res = whenRead(c.res, c, { release, unread, ttl });
      streams = true;
    } finally {
      if (!streams) await release();
    }
  })();
  waitUntil(c, work.catch(() => {}));
  await work;
}

/** Drops the body of a HEAD response, which Hono would drop unread: work that streams must end with the lock. */
function withoutBody(c: RouteContext): void {
  const { body } = c.res;
  replace(c, new Response(null, c.res));
  body!.cancel().catch(() => {}); // of a body that is read elsewhere already
}

function isKey(key: unknown): key is string {
  return typeof key === "string" && key !== "" && key.isWellFormed();
}

/** The longest pause of a reader, in milliseconds; an answer may first pass slow middleware on its way out. */
const LONGEST_PAUSE = 10_000;

/** The response, which releases the lock when its body comes to an end, whichever way. */
function whenRead(
  response: Response,
  c: RouteContext,
  { release, unread, ttl }: {
    readonly release: () => Promise<void>;
    readonly unread: AbortController;
    readonly ttl: number;
  },
): Response {
  const reader = response.body!.getReader();
  const { signal } = c.req.raw;
  const ended = deferred<void>();
  // Keeps the request alive until the release is through; the timer below bounds a reader that never comes.
  waitUntil(c, ended.promise);
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
