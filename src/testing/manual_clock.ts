/** A clock that a test moves. */
import type { Clock } from "../clock.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { checkInteger, checkOptionNames, type OptionNames } from "../validate.ts";

/**
 * Options of {@linkcode manualClock}.
 *
 * @category Testing
 */
export interface ManualClockOptions {
  /**
   * The time at which it stands, in milliseconds since the epoch.
   * @default {1_700_000_000_000}
   */
  readonly now?: number | undefined;
}

/**
 * A clock that stands still until a test moves it.
 *
 * @category Testing
 */
export interface ManualClock extends Clock {
  /**
   * Moves the time on. Waits that end meanwhile are resolved in the order of their ends, each at its own
   * time, and what they wake gets a turn of the event loop before the time moves further. Work that really
   * takes time (a socket, a hash) may need more than that: await it first.
   *
   * @throws {RangeError} when the duration is not valid
   */
  advance(duration: Duration): Promise<void>;
}

const TASK = "make a clock";
const OPTIONS = { now: true } satisfies OptionNames<ManualClockOptions>;

/** A wait that has not ended. */
interface Wait {
  readonly endsAt: number;
  readonly end: () => void;
}

/**
 * A clock for tests: hand it to a store and to the contracts on it, and let hours pass in no time.
 *
 * @throws {TypeError} for an unknown option
 * @throws {RangeError} when `now` is not a whole number of milliseconds
 * @category Testing
 * @example
 * ```ts
 * import { createLocks, memoryStore } from "@holdfast/edge";
 * import { manualClock } from "@holdfast/edge/testing";
 *
 * const clock = manualClock();
 * const locks = createLocks(memoryStore({ clock }), { clock });
 * const lock = await locks.acquire("job", { ttl: "30s" });
 * await clock.advance("30s");
 * if (!lock?.signal.aborted) throw new Error("the lease has ended");
 * ```
 */
export function manualClock(options: ManualClockOptions = {}): ManualClock {
  checkOptionNames(TASK, options, OPTIONS);
  let now = checkInteger(TASK, "now", options.now ?? 1_700_000_000_000);
  const waits = new Set<Wait>();

  async function advance(duration: Duration): Promise<void> {
    const until = now + toMilliseconds(duration, "duration");
    for (;;) {
      const next = firstUntil(waits, until);
      if (next === undefined) break;
      // A wait of no length, begun by what the last one woke, may lie before the present.
      now = Math.max(now, next.endsAt);
      waits.delete(next);
      next.end();
      await turn();
    }
    now = until;
    await turn();
  }

  function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const onAbort = () => {
        waits.delete(wait);
        reject(signal!.reason);
      };
      const end = () => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      };
      const wait = { endsAt: now + Math.ceil(milliseconds), end };
      waits.add(wait);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  return { now: () => now, monotonic: () => now, sleep, advance };
}

/**
 * The wait that ends first, if that is not after `until`; of those that end together, the one begun first.
 */
function firstUntil(waits: Iterable<Wait>, until: number): Wait | undefined {
  let first: Wait | undefined;
  for (const wait of waits) {
    if (wait.endsAt <= until && (first === undefined || wait.endsAt < first.endsAt)) first = wait;
  }
  return first;
}

/** Lets every promise that is ready run, and what it leads to. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
