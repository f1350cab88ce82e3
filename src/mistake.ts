import { HoldfastError } from "./errors.ts";

/**
 * The messages of a `fetch` that failed, in every runtime. Such an error is a `TypeError` too, in some
 * runtimes one without a cause, so only its message tells it from a mistake in the code.
 */
const NETWORK =
  /fetch failed|to fetch|sending request|load failed|network|from connection|connection (lost|closed)/i;

/** Whether an error is that of a `fetch` which got no reply, by its message. */
export function isNetworkError(error: unknown): boolean {
  return error instanceof TypeError && NETWORK.test(error.message);
}

/**
 * The fault for a mistake in the code between an engine and its database, such as a method that was taken
 * from its object; `undefined` for every other error. A mistake stays until the code is changed: it is no
 * outage, in which `whenUnavailable` may let requests pass.
 */
export function mistakeOf(engine: string, error: unknown): HoldfastError | undefined {
  const { name, message, cause, code } = Object(error) as Error & { readonly code?: unknown };
  if (name !== "TypeError" && name !== "ReferenceError") return undefined;
  if (cause !== undefined || code !== undefined || NETWORK.test(message)) return undefined;
  return new HoldfastError(
    "misconfigured",
    `Cannot use ${engine} as the code that calls it fails (${name})`,
    {
      cause: error,
    },
  );
}
