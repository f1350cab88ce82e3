/**
 * The kit of the author of an engine or of a contract: the engine interfaces, transitions, the functions that
 * make a store of an engine, and stores that wrap another store.
 *
 * ```ts
 * import { type AtomicEngine, type Fields, storeFromEngine } from "@holdfast/edge/engine";
 *
 * const records = new Map<string, Fields>();
 * const engine: AtomicEngine = {
 *   name: "map",
 *   limits: { maxKeyBytes: 1024, maxValueLength: 65_536 },
 *   transact(transition, key, input) {
 *     const { output, write } = transition.apply(records.get(key), input, Date.now());
 *     if (write?.record) records.set(key, write.record);
 *     else if (write) records.delete(key);
 *     return output;
 *   },
 *   list: () => ({ keys: [...records.keys()] }),
 * };
 * const store = storeFromEngine(engine);
 * if ((await store.increment("visits")).value !== 1) throw new Error("unexpected");
 * ```
 *
 * Prove an engine with the laws of `@holdfast/edge/testing`.
 *
 * @module
 */

export { toMilliseconds } from "../duration.ts";
export { idempotencyTransitions } from "../idempotency/idempotency_transitions.ts";
export { lockTransitions } from "../lock/lock_transitions.ts";
export { outboxTransitions } from "../outbox/outbox_transitions.ts";
export { sessionTransitions } from "../session/session_transitions.ts";
export { throttleTransitions } from "../throttle/throttle_transitions.ts";
export type { TransactOptions, WatchOptions } from "./atomic_store.ts";
export * from "./compare_and_set.ts";
export * from "./engine.ts";
export * from "./observed_store.ts";
export { keyValueStoreFromEngine, storeFromEngine } from "./store.ts";
export * from "./transition.ts";
export { valueTransitions } from "./value_transitions.ts";
export {
  type CommitReply,
  type StoredRecord,
  type VersionedBackend,
  type VersionedOptions,
  VersionedTransactions,
} from "./versioned_engine.ts";
