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
