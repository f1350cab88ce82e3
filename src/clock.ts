/**
 * The source of a contract's time; tests pass one that they can move.
 *
 * @category Shared
 */
export interface Clock {
  /** Wall-clock time in whole milliseconds since the Unix epoch. */
  now(): number;
  /** Milliseconds that never step back; only differences mean anything. */
  monotonic(): number;
  /**
   * Waits that long, or rejects with the signal's reason. A wait in the `background`, which no caller awaits
   * (the renewal of a lease), must not keep a process alive.
   */
  sleep(milliseconds: number, signal?: AbortSignal, background?: boolean): Promise<void>;
}

/**
 * The runtime's own clock.
 *
 * @category Shared
 */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  sleep(milliseconds: number, signal?: AbortSignal, background = false): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const onAbort = () => {
        clearTimeout(timer);
        reject(signal!.reason);
      };
      // setTimeout fires at once beyond 2^31 - 1 ms: a longer wait is cut there, and its caller looks again.
      const timer = setTimeout(() => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      }, Math.min(Math.ceil(milliseconds), 2 ** 31 - 1));
      if (background) letGo(timer);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  },
};

/** Lets a process end although the timer runs, where the runtime has a way to: Node and Bun, or Deno. */
function letGo(timer: unknown): void {
  const { Deno } = globalThis as { readonly Deno?: { unrefTimer?(id: unknown): void } };
  if (typeof timer === "number") Deno?.unrefTimer?.(timer);
  else (timer as { unref?(): void }).unref?.();
}
