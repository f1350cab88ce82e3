import { deferred } from "./_deferred.ts";

/** Until the work is done, its time is up or the caller gives up; what the work does after that is nobody's. */
export async function inTime<T>(
  work: Promise<T>,
  milliseconds: number,
  signal: AbortSignal | undefined,
  late: () => Error,
): Promise<T> {
  const over = deferred<never>();
  const timer = setTimeout(() => over.reject(late()), milliseconds);
  const abort = () => over.reject(signal!.reason);
  signal?.addEventListener("abort", abort, { once: true });
  try {
    return await Promise.race([work, over.promise]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
    work.catch(() => {});
  }
}
