/** The answer of a call that may give it without a promise; what it throws is a rejection. */
export function answerOf<T>(call: () => T | Promise<T>): T | Promise<T> {
  try {
    return call();
  } catch (error) {
    return Promise.reject(error);
  }
}
