import { interruptible, withTimeout } from "../deadline.ts";

/**
 * The fill of this isolate that is under way, or a new one. Another request's fill may never settle, as on Workers it ends
 * with its request: it is waited for `patience` milliseconds at most, then this call asks by itself.
 */
export async function sharedFill<T>(
  fills: Map<string, Promise<unknown>>,
  name: string,
  patience: number,
  signal: AbortSignal | undefined,
  make: () => Promise<T>,
): Promise<T> {
  const running = fills.get(name) as Promise<T> | undefined;
  if (running) {
    const late = new Error("late");
    try {
      return await withTimeout(running, patience, signal, () => late);
    } catch (error) {
      if (error !== late) throw error;
    }
  }
  const work = make();
  fills.set(name, work);
  const done = () => {
    if (fills.get(name) === work) fills.delete(name);
  };
  work.then(done, done);
  return await interruptible(work, signal);
}
