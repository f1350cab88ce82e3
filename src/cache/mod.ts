/**
 * A cache on any store that holds what it says: one fill at a time over all isolates, invalidation by key and by tag that a
 * fill under way cannot undo, stale values while they are refilled or where the origin fails.
 *
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { createCache } from "@holdfast/edge/cache";
 *
 * const cache = createCache(memoryStore(), { name: "products" });
 * const product = await cache.get("rope", () => ({ price: 12 }), { ttl: "5m", tags: ["catalogue"] });
 * await cache.invalidateTags(["catalogue"]);
 * if (product.price !== 12) throw new Error("unexpected");
 * ```
 *
 * @module
 */

export * from "./cache.ts";
export { cacheTransitions } from "./cache_transitions.ts";
export { createCache } from "./create_cache.ts";
