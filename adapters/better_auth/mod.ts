/**
 * Sessions, verifications and rate limits of better-auth on any atomic store.
 *
 * ```ts
 * // upstashStore(redis) · denoKvStore(kv) · durableObjectStore(namespace)
 * import { memoryStore } from "@holdfast/edge";
 * import { betterAuthStorage } from "@holdfast/edge/better-auth";
 *
 * const secret = "at-least-32-characters-from-your-environment";
 * // betterAuth({ secret, secondaryStorage, … })
 * const secondaryStorage = betterAuthStorage(memoryStore(), { secret });
 * await secondaryStorage.increment("127.0.0.1|/sign-in", 60);
 * ```
 *
 * On Durable Objects the class of the objects registers the transitions, as every contract outside the
 * package does:
 *
 * ```ts ignore
 * import { betterAuthTransitions } from "@holdfast/edge/better-auth";
 * import { HoldfastObject } from "@holdfast/edge/durable-objects/object";
 *
 * export class AuthObject extends HoldfastObject {
 *   override readonly transitions = betterAuthTransitions;
 * }
 * ```
 *
 * @module
 */

export * from "./better_auth_storage.ts";
export { betterAuthTransitions } from "./better_auth_transitions.ts";
