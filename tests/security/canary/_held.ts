/**
 * The objects that the canary test looks at. Each area of the module adds a file to this folder that exports
 * `held()`; the test finds it by itself.
 */

/** Objects that a user of an area can hold, and the secrets that none of them may show. */
export interface Held {
  /** The name of each object in a failure. */
  readonly objects: Readonly<Record<string, unknown>>;
  /**
   * Texts that must not appear: tokens, keys, passwords; at least eight characters, so that none appears by
   * chance.
   */
  readonly secrets: readonly string[];
  /** Ends what the objects hold open. */
  readonly close?: () => Promise<void> | void;
}

/** The error of a call that must fail. */
export async function failure(call: () => unknown): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return error;
  }
  throw new Error("the call was to fail");
}
