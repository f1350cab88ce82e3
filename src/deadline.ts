import { LONGEST_TIMER } from "./timer.ts";

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
  /**
   * Whether it takes new calls only while it lingers: on Workers a timer ends with the request that set it,
   * and the microtasks before the next event are all of one request.
   */
  readonly brief: boolean;
}

// A timer costs more than what it guards, so calls share one: those that run at the same time, and those of
// which one follows the other at once.
const lines = new Map<number, Line>();

/**
 * The microtasks for which a timer outlives its last call. A caller that awaits one call and makes the next
 * takes fewer, all our layers included: from the reply to a lock's `acquire()` to the timer of its
 * `release()` it is 18. No macrotask is waited for: after a test nothing is left.
 */
const LINGER = 20;

function lineOf(milliseconds: number): Line {
  const open = lines.get(milliseconds);
  if (open) return open;
  const timer = setTimeout(() => expire(line), milliseconds);
  const brief = globalThis.navigator?.userAgent === "Cloudflare-Workers";
  const line: Line = { milliseconds, calls: new Set(), timer, first: undefined, lingers: false, brief };
  if (brief) linger(line);
  else lines.set(milliseconds, line);
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

/**
 * Takes new calls for some microtasks; then a timer without a call is cleared, and a brief line takes no
 * more.
 */
async function linger(line: Line): Promise<void> {
  line.lingers = true;
  lines.set(line.milliseconds, line);
  for (let i = 0; i < LINGER && (line.brief || line.calls.size === 0); i++) await undefined;
  line.lingers = false;
  if (line.calls.size === 0) clearTimeout(line.timer);
  else if (!line.brief) return;
  close(line);
}

/** Takes the line away from new calls. */
function close(line: Line): void {
  if (lines.get(line.milliseconds) === line) lines.delete(line.milliseconds);
}

/**
 * Settles like the work, or rejects when the timeout ends (after 24 days at the latest) or the signal aborts.
 * The work is not cancelled; its later result is ignored.
 */
export function withTimeout<T>(
  work: Promise<T>,
  milliseconds: number,
  signal: AbortSignal | undefined,
  late: () => Error,
): Promise<T> {
  const line = lineOf(Math.min(Math.ceil(milliseconds), LONGEST_TIMER));
  return new Promise((resolve, reject) => {
    const call = { until: performance.now() + milliseconds, end: () => reject(late()) };
    line.calls.add(call);
    line.first ??= call;
    const settle = <V>(how: (value: V) => void) => (value: V) => {
      if (line.calls.delete(call) && line.calls.size === 0 && !line.lingers) linger(line);
      how(value);
    };
    interruptible(work, signal).then(settle(resolve), settle(reject));
  });
}
