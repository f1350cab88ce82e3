/**
 * Hono middleware for sessions, idempotency, throttles and locks. They fit any copy of Hono 4, take a store
 * or `(c) => store`, and a chain infers what they hand to the routes.
 *
 * ```ts
 * import { Hono } from "hono";
 * import { memoryStore } from "@holdfast/edge";
 * import { session, throttle } from "@holdfast/edge/hono";
 *
 * const store = memoryStore();
 * const app = new Hono()
 *   .use(session({ store }))
 *   .use("/api/*", throttle({ store, name: "api", limit: 100, window: "1m" }))
 *   .get("/api/me", async (c) => c.json({ user: await c.var.session.userId() }));
 * ```
 *
 * @module
 */

export type { RouteContext, RouteHandler, RouteMiddleware, StoreSource } from "./_context.ts";
export type { HonoContext, HonoEnv, HonoMiddleware } from "./_hono_types.ts";
export * from "./cache.ts";
export * from "./idempotency.ts";
export * from "./lock.ts";
export { problem, type ProblemOptions } from "../../src/http/problem.ts";
export * from "./session.ts";
export * from "./session_guards.ts";
export * from "./throttle.ts";
export * from "./webhook.ts";
