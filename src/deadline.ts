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

/** A call under way. */
interface Call {
  /** The monotonic time at which it ends. */
  readonly until: number;
  readonly end: () => void;
}

/** The calls that have as long, in the order in which they end, and the timer of the first of them. */
interface Line {
  readonly milliseconds: number;
  readonly calls: Set<Call>;
  timer: ReturnType<typeof setTimeout>;
  /** The call that the timer was set for; it ends when that fires, whatever a clock says. */
  first: Call | undefined;
  lingers: boolean;
}

// A timer costs more than what it guards, so calls share one: those that run at the same time, and those of
// which one follows the other at once.
const lines = new Map<number, Line>();

/**
 * The microtasks for which a timer outlives its last call. A caller that awaits one call and makes the next
 * takes fewer, all our layers included. No macrotask is waited for: after a test nothing is left.
 */
const LINGER = 12;

function lineOf(milliseconds: number): Line {
  const open = lines.get(milliseconds);
  if (open) return open;
  const timer = setTimeout(() => expire(line), milliseconds);
  const line: Line = { milliseconds, calls: new Set(), timer, first: undefined, lingers: false };
  lines.set(milliseconds, line);
  // On Workers a timer ends with the request that set it: only calls of the same moment share one.
  if (isWorkers()) queueMicrotask(() => close(line));
  return line;
}

/** Ends the calls whose time is over, and sets the timer for the next one. */
function expire(line: Line): void {
  const now = performance.now();
  for (const call of line.calls) {
    // Within a millisecond, which is what timers are rounded to.
    if (call !== line.first && call.until - now > 1) {
      line.first = call;
      line.timer = setTimeout(() => expire(line), call.until - now);
      return;
    }
    line.calls.delete(call);
    call.end();
  }
  close(line);
}

async function linger(line: Line): Promise<void> {
  line.lingers = true;
  for (let i = 0; i < LINGER; i++) await undefined;
  line.lingers = false;
  if (line.calls.size > 0) return;
  clearTimeout(line.timer);
  close(line);
}

/** Takes the line away from new calls. */
function close(line: Line): void {
  if (lines.get(line.milliseconds) === line) lines.delete(line.milliseconds);
}

function isWorkers(): boolean {
  const { navigator } = globalThis as { readonly navigator?: { readonly userAgent?: string } };
  return navigator?.userAgent === "Cloudflare-Workers";
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
  const line = lineOf(Math.ceil(milliseconds));
  return new Promise((resolve, reject) => {
    const call = { until: performance.now() + milliseconds, end: () => reject(late()) };
    line.calls.add(call);
    line.first ??= call;
    const done = () => {
      if (line.calls.delete(call) && line.calls.size === 0 && !line.lingers) linger(line);
    };
    interruptible(work, signal).then((value) => {
      done();
      resolve(value);
    }, (error) => {
      done();
      reject(error);
    });
  });
}
