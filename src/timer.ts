/** The runtime's timers. */

/** The longest time of a timer, in milliseconds: beyond it, setTimeout fires at once. */
export const LONGEST_TIMER = 2 ** 31 - 1;

/** Starts a timer. A longer wait than {@linkcode LONGEST_TIMER} is cut there, and its caller looks again. */
export function startTimer(
  milliseconds: number,
  background: boolean,
  ring: () => void,
): ReturnType<typeof setTimeout> {
  const timer = setTimeout(ring, Math.min(Math.ceil(milliseconds), LONGEST_TIMER));
  if (background) letGo(timer);
  return timer;
}

/** Lets a process end although the timer runs, where the runtime has a way to: Node and Bun, or Deno. */
function letGo(timer: unknown): void {
  const { Deno } = globalThis as { readonly Deno?: { unrefTimer?(id: unknown): void } };
  if (typeof timer === "number") Deno?.unrefTimer?.(timer);
  else (timer as { unref?(): void }).unref?.();
}
