import type { Duration } from "../../src/duration.ts";
import { toMilliseconds } from "../../src/duration.ts";
import { HoldfastError } from "../../src/errors.ts";
import { createLocks, type Lock } from "../../src/lock/locks.ts";
import { perStore, type RouteContext, type RouteMiddleware, type StoreSource } from "./_context.ts";
import { problem, unavailable } from "./problem.ts";

/** Options of {@linkcode lock}. */
export interface LockOptions {
  /** Where locks live, or how to get it from a request. */
  readonly store: StoreSource;
  /** What one request at a time may work on. */
  // deno-lint-ignore no-explicit-any
  readonly key: (c: any) => string | Promise<string>;
  /**
   * How long the lease lasts unless the handler extends it.
   * @default {"30s"}
   */
  readonly ttl?: Duration;
  /** How long a request waits for its turn; without it, it is turned away at once. */
  readonly wait?: Duration;
  /**
   * The status of a request that is turned away: 409 Conflict or 423 Locked.
   * @default {409}
   */
  readonly status?: 409 | 423;
  /**
   * The namespace the locks live in.
   * @default {"lock"}
   */
  readonly name?: string;
}

/** `new Hono<{ Variables: LockVariables }>()` makes `c.var.lock` typed. */
export interface LockVariables {
  /** The lock this request holds. */
  lock: Lock;
}

/**
 * Lets one request at a time through per key. The handler has the lock as `c.var.lock`, with its signal and fencing
 * token; it is given back after the response was made. When the store is down, the answer is a 503.
 *
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
export function lock(options: LockOptions): RouteMiddleware {
  const { store, key, ttl = "30s", wait, status = 409, name } = options;
  toMilliseconds(ttl, "ttl");
  if (wait !== undefined) toMilliseconds(wait, "wait");
  const locks = perStore(store, (store) => createLocks(store, name === undefined ? {} : { name }));
  return async function lock(c: RouteContext, next: () => Promise<void>): Promise<Response | void> {
    const mine = locks(c);
    const name = await key(c);
    let held: Lock | undefined;
    try {
      held = await mine.acquire(name, { ttl, wait });
      if (held === undefined) {
        const { remaining } = await mine.inspect(name);
        return problem(status, "Another request is working on this", { retryAfter: remaining });
      }
    } catch (error) {
      if (error instanceof HoldfastError) return unavailable();
      throw error;
    }
    c.set("lock", held);
    try {
      await next();
    } finally {
      await held.release().catch(() => {}); // the lease ends by itself, and the response is what counts
    }
  };
}
