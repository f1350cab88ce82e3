import { withTimeout } from "../deadline.ts";

/** The microtasks that a call to an engine in this process takes at most, through all our layers. */
const MICROTASKS = 8;

/**
 * A reply as it is where the engine gave it at once, and a promise bounded in time. With a signal there is a promise in any
 * case: the signal may abort before the caller hears of the reply.
 */
export function inTime<T>(
  reply: T | Promise<T>,
  milliseconds: number,
  signal: AbortSignal | undefined,
  late: () => Error,
): T | Promise<T> {
  if (!(reply instanceof Promise) && signal === undefined) return reply;
  return bounded(Promise.resolve(reply), milliseconds, signal, late);
}

/**
 * As `withTimeout`, but without a timer for a call that is done within a few microtasks: on an engine in this
 * process, the timer would cost more than the call.
 */
export async function bounded<T>(
  call: Promise<T>,
  milliseconds: number,
  signal: AbortSignal | undefined,
  late: () => Error,
): Promise<T> {
  let settled = false;
  const settle = () => void (settled = true);
  call.then(settle, settle);
  for (let i = 0; i < MICROTASKS && !settled; i++) await undefined;
  return settled && !signal?.aborted ? await call : await withTimeout(call, milliseconds, signal, late);
}
