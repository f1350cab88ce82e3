/**
 * Settles like the promise, or rejects with the signal's reason when that comes first. The work is not
 * cancelled; its later result is ignored.
 */
export function interruptible<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}

/** A timer, and what is to happen when it is over. */
interface Tick {
  readonly milliseconds: number;
  readonly late: Set<() => void>;
  readonly timer: ReturnType<typeof setTimeout>;
}

// Calls of one tick that have as long share a timer: on a hot path timers cost more than what they guard.
const ticks = new Map<number, Tick>();

function tickOf(milliseconds: number): Tick {
  const open = ticks.get(milliseconds);
  if (open) return open;
  const late = new Set<() => void>();
  const timer = setTimeout(() => late.forEach((end) => end()), milliseconds);
  const tick: Tick = { milliseconds, late, timer };
  ticks.set(milliseconds, tick);
  queueMicrotask(() => close(tick));
  return tick;
}

function close(tick: Tick): void {
  if (ticks.get(tick.milliseconds) === tick) ticks.delete(tick.milliseconds);
}

/**
 * Settles like the work, or rejects when the timeout ends or the signal aborts. The work is not cancelled;
 * its later result is ignored.
 */
export function withTimeout<T>(
  work: Promise<T>,
  milliseconds: number,
  signal: AbortSignal | undefined,
  late: () => Error,
): Promise<T> {
  const tick = tickOf(milliseconds);
  return new Promise((resolve, reject) => {
    const end = () => reject(late());
    const done = () => {
      if (tick.late.delete(end) && tick.late.size === 0) {
        clearTimeout(tick.timer);
        close(tick);
      }
    };
    tick.late.add(end);
    interruptible(work, signal).then((value) => {
      done();
      resolve(value);
    }, (error) => {
      done();
      reject(error);
    });
  });
}
