/** The errors of calls to objects, in the classes of `src/fault_class.ts`. */
import { HoldfastError } from "../../src/errors.ts";
import { mistakeOf } from "../../src/mistake.ts";
import type { Refusal } from "./rpc.ts";

/** The delay before an overloaded object is called again. */
const OVERLOAD_DELAY = 1000;

/**
 * The runtime's error for an object of a class without our methods. It is made here in the Worker and holds
 * no value.
 */
const NO_METHOD = /^The RPC receiver does not implement (?:the )?method/;

/**
 * The runtime's error for a class that a migration made with `new_classes`; its text names no value of ours.
 */
const NO_SQLITE = /new_sqlite_classes|SQL is not enabled for this Durable Object/i;

/** The error for a call that the object refused. */
export function refusal(refused: Refusal): HoldfastError {
  return new HoldfastError(
    refused,
    refused === "transition-unknown"
      ? "Cannot run the transition as the object's class does not know its name: add it to its 'transitions'"
      : "Cannot store the record as an object takes at most 2000000 bytes, its key included",
  );
}

/**
 * The error for a call that failed on its way or in the object. Cloudflare tells by properties of the error
 * whether the object was overloaded, was reset (by a deployment, or as it used too much) or whether the call
 * may be repeated. A stub without methods is one of a Worker from before RPC.
 */
export function objectFault(cause: unknown, writes: boolean, hasMethods: boolean): HoldfastError {
  if (!hasMethods) {
    return new HoldfastError(
      "misconfigured",
      "Cannot call the object as the Worker's 'compatibility_date' must be 2024-04-03 or later",
      { cause },
    );
  }
  const { overloaded, retryable, durableObjectReset, message } = Object(cause) as {
    overloaded?: boolean;
    retryable?: boolean;
    durableObjectReset?: boolean;
    message?: unknown;
  };
  if (overloaded === true) {
    // It was refused before it began.
    return new HoldfastError("backend-unavailable", "Cannot use the object as it is overloaded", {
      retryable: true,
      retryAfter: OVERLOAD_DELAY,
      cause,
    });
  }
  if (cause instanceof TypeError && NO_METHOD.test(String(message))) {
    return new HoldfastError(
      "misconfigured",
      "Cannot call the object as the binding's class must be HoldfastObject or extend it",
      { cause },
    );
  }
  if (NO_SQLITE.test(String(message))) {
    return new HoldfastError(
      "misconfigured",
      "Cannot use the object as its class has no SQLite storage: name it in 'new_sqlite_classes' of the " +
        "migration, not in 'new_classes'",
      { cause },
    );
  }
  const mistake = mistakeOf("the object", cause);
  if (mistake) return mistake;
  const reset = durableObjectReset === true;
  const why = reset ? "it was reset" : "the call to it failed";
  return new HoldfastError("backend-unavailable", `Cannot use the object as ${why}`, {
    retryable: reset || retryable === true,
    ambiguous: writes,
    cause,
  });
}
