import type { Lock, Locks } from "@holdfast/edge";

/** The options of the Web Locks API, for all instances in place of one browser's tabs. */
export interface LockRequestOptions {
  readonly mode?: "exclusive" | "shared";
  readonly ifAvailable?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * The argument of the work: `held` has the signal and the fencing token that a browser's lock does not need.
 */
export interface GrantedLock {
  readonly name: string;
  readonly mode: "exclusive" | "shared";
  readonly held: Lock;
}

/** `navigator.locks.request()` of browsers, on any store. */
export function webLocks(locks: Locks): {
  request<T>(
    name: string,
    options: LockRequestOptions,
    work: (lock: GrantedLock | null) => T | Promise<T>,
  ): Promise<T>;
} {
  return {
    async request(name, { mode = "exclusive", ifAvailable = false, signal }, work) {
      for (;;) {
        const lock = await locks.acquire(name, {
          ttl: "30s",
          renew: true,
          mode: mode === "shared" ? "read" : "write", // both wait in one queue: no writer starves
          ...(!ifAvailable && { wait: "1m" }),
          ...(signal && { signal }),
        });
        if (lock === undefined && !ifAvailable) continue;
        if (lock === undefined) return await work(null);
        try {
          return await work({ name, mode, held: lock });
        } finally {
          await lock.release();
        }
      }
    },
  };
}
