import { type Clock, systemClock } from "./clock.ts";
import { startTimer } from "./timer.ts";

/**
 * Calls `ring` after that long. What it returns takes it back: on the runtime's own clock without a promise, a signal and a
 * listener, which cost ten times as much as the timer.
 */
export function ringAfter(
  clock: Clock,
  milliseconds: number,
  ring: () => void,
  background = false,
): () => void {
  if (clock === systemClock) {
    const timer = startTimer(milliseconds, background, ring);
    return () => clearTimeout(timer);
  }
  const over = new AbortController();
  clock.sleep(milliseconds, over.signal, background).then(() => {
    if (!over.signal.aborted) ring();
  }, () => {});
  return () => over.abort("over"); // without a reason it would make an exception, with a stack
}
