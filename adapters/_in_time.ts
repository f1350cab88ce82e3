/** Until the work is done, its time is up or the caller gives up; what the work does after that is nobody's. */
export async function inTime<T>(
  work: Promise<T>,
  milliseconds: number,
  signal: AbortSignal | undefined,
  late: () => Error,
): Promise<T> {
  let timer: ReturnType<typeof setTimeout>;
  let abort: () => void;
  // Promise.withResolvers would read better, but Node 20 has none.
  const over = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), milliseconds);
    abort = () => reject(signal!.reason);
    signal?.addEventListener("abort", abort, { once: true });
  });
  try {
    return await Promise.race([work, over]);
  } finally {
    clearTimeout(timer!);
    signal?.removeEventListener("abort", abort!);
    work.catch(() => {});
  }
}
