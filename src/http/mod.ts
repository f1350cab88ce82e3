/**
 * Fetch-level helpers, for any runtime and framework: a Request in, a Response out. Each takes a handler
 * `(request, context) => Response` and gives one back, so they stand around each other in any order.
 *
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { withIdempotency, withThrottle } from "@holdfast/edge/http";
 *
 * const store = memoryStore();
 * const pay = withThrottle(
 *   (_request, { throttle }) => Response.json({ charged: true, left: throttle?.remaining }, { status: 201 }),
 *   { store, name: "payments", limit: 100, window: "1m", key: () => "customer 7" },
 * );
 * const handler = withIdempotency(pay, { store, scope: () => "customer 7" }); // a duplicate costs no quota
 * // Deno.serve(handler), or export default { fetch: (request, env, ctx) => handler(request, { env, ctx }) }
 * const headers = { "idempotency-key": '"order-17"' };
 * const response = await handler(new Request("https://shop.example/pay", { method: "POST", headers }));
 * if (response.status !== 201) throw new Error("unexpected");
 * ```
 *
 * @module
 */

export { clientAddress, type ClientAddressOptions, type ClientPlatform } from "./client_address.ts";
export type { ContextStore, FetchHandler, WaitUntilOption } from "./exchange.ts";
export {
  type HttpCacheBaseOptions,
  type HttpCacheOptions,
  type HttpCacheSource,
  withCache,
} from "./http_cache.ts";
export type * from "./http_idempotency.ts";
export type * from "./http_lock.ts";
export type * from "./http_session.ts";
export type * from "./http_throttle.ts";
export {
  idempotentFetch,
  type IdempotentFetchOptions,
  type IdempotentRequestInit,
} from "./idempotent_fetch.ts";
export { problem, type ProblemOptions } from "./problem.ts";
export { withIdempotency } from "./with_idempotency.ts";
export { withLock } from "./with_lock.ts";
export { withSession } from "./with_session.ts";
export { withThrottle } from "./with_throttle.ts";
