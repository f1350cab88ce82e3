import type { AtomicStore } from "../store/atomic_store.ts";
import { acquireLock, extendLock } from "./lock_transitions.ts";

/** What a lock needs of a store. */
export type LockRoom = Pick<AtomicStore, "transact" | "watch">;

/**
 * Where locks without a token live: never beside the others, whose records are of another kind. An engine that has a command for
 * leases answers by it, in the words of the ordinary transitions; `blind` says that it remembers nobody who has released.
 */
export function unfencedRoom(locks: AtomicStore): LockRoom {
  const store = locks.namespace("u"); // short, as it travels with every key
  if (!store.lease) return store;
  return {
    async transact(transition, key, { owner, ttl }) {
      const lease = async (action: Parameters<NonNullable<AtomicStore["lease"]>>[0]) =>
        await store.lease!(action, key, owner!, Number(ttl));
      if (transition === acquireLock) {
        return await lease("take") === "own" ? { fence: "0", e: "0" } : { remaining: "Infinity" };
      }
      if (transition === extendLock) return await lease("extend") === "own" ? { e: "0" } : {};
      const found = await lease("release");
      if (found === "own") return { result: "released" };
      return { result: found === "other" ? "overtaken" : "expired", blind: "1" };
    },
  };
}
