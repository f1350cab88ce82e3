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

/** A timer, and how many wait for it. */
interface Tick {
  readonly over: Promise<void>;
  readonly timer: ReturnType<typeof setTimeout>;
  waiting: number;
}

// Calls of one tick that have as long share a timer: on a hot path timers cost more than what they guard.
const ticks = new Map<number, Tick>();

function tickOf(milliseconds: number): Tick {
  const open = ticks.get(milliseconds);
  if (open) return open;
  const { promise: over, resolve } = deferred<void>();
  const tick: Tick = { over, timer: setTimeout(resolve, milliseconds), waiting: 0 };
  ticks.set(milliseconds, tick);
  queueMicrotask(() => close(milliseconds, tick));
  return tick;
}

function close(milliseconds: number, tick: Tick): void {
  if (ticks.get(milliseconds) === tick) ticks.delete(milliseconds);
}

/** Until the work is done, its time is up or the caller gives up; what the work does after that is nobody's. */
export async function inTime<T>(
  work: Promise<T>,
  milliseconds: number,
  signal: AbortSignal | undefined,
  late: () => Error,
): Promise<T> {
  const tick = tickOf(milliseconds);
  tick.waiting++;
  const over = tick.over.then(() => {
    throw late();
  });
  try {
    return await interruptible(Promise.race([work, over]), signal);
  } finally {
    if (--tick.waiting === 0) {
      clearTimeout(tick.timer);
      close(milliseconds, tick);
    }
    work.catch(() => {});
  }
}
