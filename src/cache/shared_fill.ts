import { interruptible, withTimeout } from "../deadline.ts";

/** A fill of this isolate that is under way. */
export interface RunningFill {
  readonly work: Promise<unknown>;
  /** The number of the last call that had begun when it began. */
  readonly after: number;
}

/**
 * The fill of this isolate that is under way, or a new one, one at a time. A call takes the value of a fill
 * only if that began after the call itself: an older one may have asked the origin before an invalidation
 * that was acknowledged since. Such a fill is waited for, and the next one serves all that waited.
 *
 * Another request's fill may never settle, as on Workers it ends with its request: it is waited for
 * `patience` milliseconds at most, then this call asks by itself.
 */
export async function sharedFill<T>(
  fills: Map<string, RunningFill>,
  name: string,
  { number, latest, patience, signal }: {
    /** The number of this call; 0 takes the value of any fill. */
    readonly number: number;
    /** The number of the last call that has begun. */
    readonly latest: () => number;
    readonly patience: number;
    readonly signal: AbortSignal | undefined;
  },
  make: () => Promise<T>,
): Promise<T> {
  const late = new Error("late");
  for (let running = fills.get(name); running !== undefined; running = fills.get(name)) {
    const usable = running.after >= number;
    try {
      const value = await withTimeout(running.work, patience, signal, () => late);
      if (usable) return value as T;
    } catch (error) {
      if (usable && error !== late) throw error;
      signal?.throwIfAborted();
      if (error === late) break;
    }
  }
  const work = make();
  const own = { work, after: latest() };
  fills.set(name, own);
  const done = () => {
    if (fills.get(name) === own) fills.delete(name);
  };
  work.then(done, done);
  return await interruptible(work, signal);
}
