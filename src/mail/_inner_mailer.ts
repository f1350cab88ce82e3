/**
 * Calls of the mailer inside a wrapper. A mailer is often a few lines of an application: one that ignores its
 * signal and timeout must not hold the wrapper for ever, one that gives no receipt must not break it, and a
 * `fetch` of its own that failed must not pass for a message that is not valid.
 */
import { callAfter } from "../call_after.ts";
import { type Clock, systemClock } from "../clock.ts";
import { deferred } from "../deferred.ts";
import { toMilliseconds } from "../duration.ts";
import { isNetworkError } from "../mistake.ts";
import { mailError } from "./mail_error.ts";
import type { BulkSender, Mailer, Receipt, SendOptions } from "./mailer.ts";
import type { Message } from "./message.ts";

/**
 * Milliseconds that a mailer has to say what became of the message after its time is over: it may know that
 * nothing was sent.
 */
const GRACE = 250;

/**
 * Milliseconds that a mailer has where no option says how long: twice what the slowest of ours takes, which
 * bound themselves.
 */
const LONGEST = 600_000;

/**
 * Mailers of which one call may hold several attempts, or a wait before the first. A call's `timeout` bounds
 * an attempt, and they bound each of theirs.
 */
const wrappers = /* @__PURE__ */ new WeakSet<object>();

/** Notes a mailer whose calls may take longer than their `timeout`. */
export function noteWrapper(mailer: Mailer): void {
  wrappers.add(mailer);
}

/**
 * Sends by the mailer inside, for the time that the options give at most; ten minutes by that clock where
 * they give none.
 */
export function sendBy(
  mailer: Mailer,
  message: Message,
  options: SendOptions = {},
  clock: Clock = systemClock,
): Promise<Receipt> {
  return bounded(mailer, () => mailer.send(message, options), options, clock);
}

/** A mailer's own way to send many, or else one by one with `send`. */
export function openBulk(mailer: Mailer): BulkSender {
  const inner = mailer.openBulk?.();
  if (inner === undefined) {
    return {
      size: 1,
      send: ([message], [idempotencyKey], options) => [
        sendBy(mailer, message!, { ...options, idempotencyKey }),
      ],
    };
  }
  return {
    size: inner.size,
    repeatable: inner.repeatable,
    send(messages, keys, options) {
      const sent = inner.send(messages, keys, options);
      return messages.map((_, i) => bounded(mailer, () => Object(sent)[i], options, systemClock));
    },
    close: async () => await inner.close?.(),
  };
}

/**
 * The receipt of an attempt.
 *
 * @throws {MailError} of unknown outcome when none came in time, what came is none, or its own `fetch` failed
 */
async function bounded(
  mailer: Mailer,
  send: () => Promise<Receipt>,
  { signal, timeout, idempotencyKey }: SendOptions,
  clock: Clock,
): Promise<Receipt> {
  const limit = timeout === undefined ? LONGEST : toMilliseconds(timeout, "timeout");
  const over = deferred<never>();
  const end = () => {
    const aborted = signal?.aborted === true;
    over.reject(mailError(mailer.name, aborted ? "aborted" : "timeout", "it did not answer in time", {
      delivery: "unknown",
      phase: "body",
      retryable: !aborted && mailer.deduplicates && idempotencyKey !== undefined,
    }));
  };
  // A timer that nothing asked for keeps no process alive: what waits may have been given up with its caller.
  const background = timeout === undefined;
  let cancel = wrappers.has(mailer)
    ? () => {}
    : callAfter(background ? clock : systemClock, limit + GRACE, end, background);
  const abort = () => {
    cancel();
    cancel = callAfter(systemClock, GRACE, end);
  };
  signal?.addEventListener("abort", abort);
  if (signal?.aborted) abort();
  try {
    const receipt: unknown = await Promise.race([send(), over.promise]);
    if (isReceipt(receipt)) return receipt;
  } catch (cause) {
    // Also a TypeError, but not about the message: the request may have arrived.
    if (!isNetworkError(cause)) throw cause;
    throw mailError(mailer.name, "backend-unavailable", "its request got no reply", {
      delivery: "unknown",
      phase: "body",
      retryable: mailer.deduplicates && idempotencyKey !== undefined,
      cause,
    });
  } finally {
    cancel();
    signal?.removeEventListener("abort", abort);
  }
  throw mailError(mailer.name, "misconfigured", "its 'send' must give a receipt, { mailer, id }", {
    delivery: "unknown",
    phase: "reply",
  });
}

const LISTS = ["accepted", "rejected", "deferred", "unknown", "suppressed"] as const;

function isReceipt(value: unknown): value is Receipt {
  const receipt = Object(value) as Receipt;
  return typeof receipt.mailer === "string" &&
    LISTS.every((list) => receipt[list] === undefined || Array.isArray(receipt[list]));
}
