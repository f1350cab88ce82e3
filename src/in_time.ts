import { deferred } from "./deferred.ts";

/** The promise, or the signal's reason when that comes first; what the work does after that is nobody's. */
export function interruptible<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** Until the work is done, its time is up or the caller gives up; what the work does after that is nobody's. */
export async function inTime<T>(
  work: Promise<T>,
  milliseconds: number,
  signal: AbortSignal | undefined,
  late: () => Error,
): Promise<T> {
  const over = deferred<never>();
  const timer = setTimeout(() => over.reject(late()), milliseconds);
  try {
    return await interruptible(Promise.race([work, over.promise]), signal);
  } finally {
    clearTimeout(timer);
    work.catch(() => {});
  }
}
