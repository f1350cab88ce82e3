import type { Duration, Lock, Locks } from "@holdfast/edge";

/**
 * Lets one instance of many lead: `work` runs on it until it ends, and then, or when the leader dies, on another
 * one. `work` must heed `term.signal`, and hand `term.fencingToken` to what it writes to: a leader that was paused
 * may wake after the next one began.
 */
export async function lead(
  locks: Locks,
  office: string,
  work: (term: Lock) => Promise<void>,
  { signal, ttl = "15s" }: { signal: AbortSignal; ttl?: Duration },
): Promise<void> {
  while (!signal.aborted) {
    try {
      const term = await locks.acquire(office, { ttl, renew: true, maxHold: "30d", wait: "1m", signal });
      if (term === undefined) continue; // the leader lives: wait on
      try {
        await work(term);
      } finally {
        await term.release();
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
}
