/** The runtime's timers. */

/** setTimeout fires at once beyond 2^31 - 1 ms: a longer wait is cut there, and its caller looks again. */
export function startTimer(
  milliseconds: number,
  background: boolean,
  ring: () => void,
): ReturnType<typeof setTimeout> {
  const timer = setTimeout(ring, Math.min(Math.ceil(milliseconds), 2 ** 31 - 1));
  if (background) letGo(timer);
  return timer;
}

/** Lets a process end although the timer runs, where the runtime has a way to: Node and Bun, or Deno. */
function letGo(timer: unknown): void {
  const { Deno } = globalThis as { readonly Deno?: { unrefTimer?(id: unknown): void } };
  if (typeof timer === "number") Deno?.unrefTimer?.(timer);
  else (timer as { unref?(): void }).unref?.();
}
