/**
 * The transitions of a lock. Its record is `{ f, o?, e? }`: the last fencing token handed out, and the owner with
 * its deadline while somebody holds it. The fence outlives the holder, and a fence that was lost starts again
 * above every earlier one, because it is seeded with the engine's clock in microseconds.
 */
import type { Fields, Step, Transition } from "../store/transition.ts";

/** How long a free lock remembers its fence. After that the clock's seed is above it anyway. */
const FENCE_RETENTION = 86_400_000;

function held(record: Fields | undefined, now: number): boolean {
  return record?.o !== undefined && now < Number(record.e);
}

function hold(owner: string, fence: string, until: number): Step {
  return {
    output: { fence, e: String(until) },
    write: {
      record: { f: fence, o: owner, e: String(until) },
      expiresAt: until + FENCE_RETENTION,
      pinned: true,
    },
  };
}

/** `{ owner, ttl }` → `{ fence, e }` granted, or `{ remaining }` somebody else has it. The same owner gets the same grant. */
export const acquireLock: Transition = {
  name: "lock.acquire",
  apply(record, { owner, ttl }, now): Step {
    const until = now + Number(ttl);
    if (held(record, now)) {
      if (record!.o === owner) return hold(owner!, record!.f!, until);
      return { output: { remaining: String(Number(record!.e) - now) } };
    }
    return hold(owner!, String(Math.max(Number(record?.f ?? 0) + 1, now * 1000)), until);
  },
};

/** `{ owner, ttl }` → `{ e }` extended to `now + ttl`, or `{}` lost. An expired lease is not revived. */
export const extendLock: Transition = {
  name: "lock.extend",
  apply(record, { owner, ttl }, now): Step {
    if (!held(record, now) || record!.o !== owner) return { output: {} };
    return hold(owner!, record!.f!, now + Number(ttl));
  },
};

/** `{ owner, fence }` → `{ result }`: `released`, `expired` (nobody came after) or `overtaken`. */
export const releaseLock: Transition = {
  name: "lock.release",
  apply(record, { owner, fence }, now): Step {
    if (record?.o === owner) {
      return {
        output: { result: held(record, now) ? "released" : "expired" },
        write: { record: { f: record!.f! }, expiresAt: now + FENCE_RETENTION },
      };
    }
    return { output: { result: record === undefined || record.f === fence ? "expired" : "overtaken" } };
  },
};

/** `{}` → `{ f?, remaining? }`. */
export const inspectLock: Transition = {
  name: "lock.inspect",
  apply(record, _input, now): Step {
    if (record?.f === undefined) return { output: {} };
    if (!held(record, now)) return { output: { f: record.f } };
    return { output: { f: record.f, remaining: String(Number(record.e) - now) } };
  },
};

/** Every transition of a lock. */
export const lockTransitions: readonly Transition[] = [acquireLock, extendLock, releaseLock, inspectLock];
