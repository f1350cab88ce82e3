/** Callbacks of the application whose result is not used: their errors are their own. */

/**
 * The listener, made harmless: what it throws is dropped, and so is the rejection of an async one, which as
 * an unhandled rejection would end the process. `undefined` stands for a listener that does nothing.
 */
export function safely<Arguments extends readonly unknown[]>(
  listener: ((...about: Arguments) => unknown) | undefined,
): (...about: Arguments) => void {
  // An async function calls it at once, and makes a rejection of what it throws.
  return (...about) => void dropRejection((async () => await listener?.(...about))());
}

/**
 * Drops the rejection of what a callback returned, and returns the same. For callbacks that an application
 * may write as async functions although nothing waits for them.
 */
export function dropRejection<T>(result: T): T {
  Promise.resolve(result).catch(() => {}); // any thenable: it may be a library's own
  return result;
}

/** The answer of a call that may give it without a promise; what it throws is a rejection. */
export function answered<T>(call: () => T | Promise<T>): T | Promise<T> {
  try {
    return call();
  } catch (error) {
    return Promise.reject(error);
  }
}
