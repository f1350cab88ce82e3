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
   * The end of the lock: until the handler answered, or until the last byte of its response was read
   * (or the reader went away). A handler that works while it streams needs `"body"`; a slow reader then holds
   * the lock, for `ttl` at most unless it is renewed.
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
    const entry = await enter(mine, found, acquire, c).catch(refuse);
    if (entry instanceof Response) return entry;
    if ("remaining" in entry) {
      return problem(status, "Another request is working on this", { retryAfter: entry.remaining });
    }
    return await serve(c, next, entry.lock, until, report);
  };
}

/** The lock, or how long others have it. */
async function enter(
  locks: Locks,
  key: string,
  options: AcquireOptions,
  c: RouteContext,
): Promise<{ readonly lock: Lock } | { readonly remaining: number } | Response> {
  const acquiring = locks.acquire(key, {
    ...options,
    signal: c.req.raw.signal,
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

/** Runs the handler under the lock, and releases it whatever happens to the request. */
async function serve(
  c: RouteContext,
  next: () => Promise<void>,
  lock: Lock,
  until: "response" | "body",
  report: (error: unknown) => void,
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
      streams = until === "body" && c.res.body !== null && !c.error;
      if (streams) c.res = whenRead(c.res, release, c);
    } finally {
      if (!streams) await release();
    }
  })();
  waitUntil(c, work.catch(() => {}));
  await work;
}

function isKey(key: unknown): key is string {
  return typeof key === "string" && key !== "" && key.isWellFormed();
}

/** The response, which releases the lock when its body comes to an end, whichever way. */
function whenRead(response: Response, release: () => Promise<void>, c: RouteContext): Response {
  const reader = response.body!.getReader();
  const ended = deferred<void>();
  // Keeps the request alive until the release is through; a lease bounds a reader that never comes back.
  waitUntil(c, ended.promise);
  const end = () => release().finally(() => ended.resolve());
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (!done) return controller.enqueue(value);
        await end(); // before the reader knows that it was the last: it may come back at once
        controller.close();
      } catch (error) {
        await end();
        controller.error(error);
      }
    },
    async cancel(reason) {
      await Promise.all([reader.cancel(reason).catch(() => {}), end()]);
    },
  }, { highWaterMark: 0 });
  return new Response(body, response);
}
