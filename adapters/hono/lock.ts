import type { HttpLockOptions } from "../../src/http/http_lock.ts";
import { lockHelper } from "../../src/http/with_lock.ts";
import type { Lock } from "../../src/lock/lock.ts";
import type { RouteContext, StoreSource } from "./_context.ts";
import { mapOptions, ofContext, pass } from "./_exchange.ts";
import type { HonoContext, HonoEnv, HonoMiddleware } from "./_hono_types.ts";

/**
 * Options of {@linkcode lock}: those of `withLock`, with callbacks of Hono's context.
 *
 * @category Hono
 */
// deno-lint-ignore no-explicit-any
export interface LockMiddlewareOptions<C = any> extends Omit<HttpLockOptions, "store" | "key" | "waitUntil"> {
  /** The store of the locks, or how to get it from a request. */
  readonly store: StoreSource<C>;
  /** The key on which one request at a time may work; see `withLock`. */
  readonly key: (c: C) => string | Promise<string>;
}

/**
 * `new Hono<{ Variables: LockVariables }>()` makes `c.var.lock` typed; a chain infers it.
 *
 * @category Hono
 */
export interface LockVariables {
  /** The lock this request holds. */
  lock: Lock;
}

/**
 * Lets one request at a time through per key, or as many as `permits` says; see `withLock`. The handler has
 * the lock as `c.var.lock`, with its signal and fencing token.
 *
 * @throws {TypeError | RangeError} when an option is missing, unknown or out of its range
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
// deno-lint-ignore no-explicit-any
export function lock<E extends HonoEnv = any>(
  options: LockMiddlewareOptions<HonoContext<E>>,
): HonoMiddleware<E, LockVariables> {
  const helper = lockHelper<RouteContext>(
    mapOptions(options as LockMiddlewareOptions, ({ key }) => ({ key: ofContext(key) })) as HttpLockOptions<
      RouteContext
    >,
  );
  return (function lock(c: RouteContext, next: () => Promise<void>) {
    return pass(c, next, "lock", helper);
  }) as HonoMiddleware<E, LockVariables>;
}
