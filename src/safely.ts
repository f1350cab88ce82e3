/** Callbacks of the application whose result is not used: their errors are their own. */

/**
 * The listener, made harmless: what it throws is dropped, and so is the rejection of an async one, which as an
 * unhandled rejection would end the process. `undefined` stands for a listener that does nothing.
 */
export function safely<Arguments extends readonly unknown[]>(
  listener: ((...about: Arguments) => unknown) | undefined,
): (...about: Arguments) => void {
  return (...about) => {
    try {
      dropRejection(listener?.(...about));
    } catch {
      // a listener that throws changes nothing
    }
  };
}

/**
 * Drops the rejection of what a callback returned, and returns the same. For callbacks that an application may
 * write as async functions although nothing waits for them.
 */
export function dropRejection<T>(result: T): T {
  // Any thenable: a promise may be another realm's, or a library's own.
  if (typeof result === "object" && result !== null) Promise.resolve(result).catch(() => {});
  return result;
}
