import { type Clock, systemClock } from "./clock.ts";
import { startTimer } from "./timer.ts";

/**
 * Calls `run` after so many milliseconds, and returns a function that cancels it. On the runtime's own clock
 * this needs no promise, signal or listener, which cost ten times as much as the timer. A `background` timer
 * keeps no process alive.
 */
export function callAfter(
  clock: Clock,
  milliseconds: number,
  run: () => void,
  background = false,
): () => void {
  if (clock === systemClock) {
    const timer = startTimer(milliseconds, background, run);
    return () => clearTimeout(timer);
  }
  const over = new AbortController();
  clock.sleep(milliseconds, over.signal, background).then(() => {
    if (!over.signal.aborted) run();
  }, () => {});
  return () => over.abort("over"); // without a reason it would make an exception, with a stack
}
