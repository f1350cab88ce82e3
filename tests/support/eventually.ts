/** Waiting for what must come, however slow the machine is. */

/** Real milliseconds after which a condition counts as one that never holds: far more than a busy machine needs. */
const MOST = 30_000;

/** Ends when the condition holds. */
export async function eventually(
  condition: () => unknown,
  sentence = "the condition holds in time",
): Promise<void> {
  const latest = performance.now() + MOST;
  while (!await condition()) {
    if (performance.now() > latest) throw new Error(`Expected that ${sentence}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/**
 * The answer of work that ends before a timer of so many milliseconds, begun with it. A machine that stands still makes
 * the timers of the work late too, and they end in order: no time is measured.
 */
export async function soonerThan<T>(
  milliseconds: number,
  work: () => Promise<T>,
  sentence = `it ends within ${milliseconds} ms`,
): Promise<T> {
  let over = false;
  const timer = setTimeout(() => over = true, milliseconds);
  const [settled] = await Promise.allSettled([work()]);
  clearTimeout(timer);
  if (over) throw new Error(`Expected that ${sentence}`);
  if (settled.status === "rejected") throw settled.reason;
  return settled.value;
}
