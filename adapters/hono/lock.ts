import { systemClock } from "../../src/clock.ts";
import { HoldfastError } from "../../src/errors.ts";
import { lockRequest } from "../../src/lock/_request.ts";
import type { Lock } from "../../src/lock/lock.ts";
import { type AcquireOptions, createLocks } from "../../src/lock/locks.ts";
import { perStore, type RouteContext, type RouteMiddleware, type StoreSource } from "./_context.ts";
import { problem, unavailable } from "./problem.ts";

/** Options of {@linkcode lock}: how to acquire, and what to answer who has to stay outside. */
export interface LockOptions extends Omit<AcquireOptions, "ttl" | "signal" | "fenced"> {
  /** Where locks live, or how to get it from a request. */
  readonly store: StoreSource;
  /** What one request at a time may work on. */
  // deno-lint-ignore no-explicit-any
  readonly key: (c: any) => string | Promise<string>;
  /**
   * How long the lease lasts unless it is extended.
   * @default {"30s"}
   */
  readonly ttl?: AcquireOptions["ttl"];
  /**
   * The status of a request that is turned away: 409 Conflict or 423 Locked.
   * @default {409}
   */
  readonly status?: 409 | 423;
  /**
   * How long the lock is held: until the handler answered, or until the last byte of its response was read (or the reader
   * went away). A handler that works while it streams needs `"body"`; a slow reader then holds the lock, for `ttl` at most
   * unless it is renewed.
   * @default {"response"}
   */
  readonly until?: "response" | "body";
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
 * Lets one request at a time through per key (or as many as `permits` says). The handler has the lock as `c.var.lock`, with its
 * signal and fencing token; it is given back before the response leaves, see `until`. Who is turned away gets a 409 or 423 with
 * `Retry-After`; when the store is down, the answer is a 503 and the handler does not run.
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
  const { store, key, status = 409, until = "response", name, ...rest } = options;
  const how: AcquireOptions = { ...rest, ttl: rest.ttl ?? "30s" };
  lockRequest(how, systemClock); // what cannot be is said now, not to the first request
  const locks = perStore(store, (store) => createLocks(store, name === undefined ? {} : { name }));
  return async function lock(c: RouteContext, next: () => Promise<void>): Promise<Response | void> {
    const mine = locks(c);
    const name = await key(c);
    let held: Lock | undefined;
    try {
      held = await mine.acquire(name, { ...how, signal: c.req.raw.signal });
      if (held === undefined) {
        const { remaining } = await mine.inspect(name);
        return problem(status, "Another request is working on this", { retryAfter: remaining });
      }
    } catch (error) {
      if (error instanceof HoldfastError) return unavailable();
      throw error;
    }
    c.set("lock", held);
    let streams = false;
    try {
      await next();
      streams = until === "body" && c.res.body !== null && !c.error;
      if (streams) c.res = whenRead(c.res, held);
    } finally {
      if (!streams) await held.release().catch(() => {}); // the lease ends by itself, and the response is what counts
    }
  };
}

/** The response, which gives the lock back when its body comes to an end, whichever way. */
function whenRead(response: Response, lock: Lock): Response {
  const reader = response.body!.getReader();
  const release = () => lock.release().catch(() => {});
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read();
        if (!done) return controller.enqueue(value);
        await release(); // before the reader knows that it was the last: it may come back at once
        controller.close();
      } catch (error) {
        await release();
        controller.error(error);
      }
    },
    async cancel(reason) {
      await Promise.all([reader.cancel(reason).catch(() => {}), release()]);
    },
  }, { highWaterMark: 0 });
  return new Response(body, response);
}
