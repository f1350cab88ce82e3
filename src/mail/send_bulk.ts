/**
 * Sends many messages: in order, while the input is read, holding few of them, and stopped only by the
 * caller.
 */
import { checkFunction, checkInteger, checkOptionNames, type OptionNames } from "../validate.ts";
import { BulkRun } from "./_bulk_run.ts";
import { checkMailer } from "./_combinator.ts";
import { need } from "./address.ts";
import type { BulkOptions, BulkResult } from "./bulk.ts";
import type { Mailer } from "./mailer.ts";
import type { Message } from "./message.ts";

const TASK = "send";
const OPTIONS = {
  signal: true,
  timeout: true,
  idempotencyKey: true,
  concurrency: true,
  start: true,
  onProgress: true,
} satisfies OptionNames<BulkOptions>;

/**
 * Sends many: one result per message, in order, while the input is still being read; no more than
 * `concurrency` requests' worth of messages are held. A failure stops nothing. When the signal aborts or the
 * input fails, no more is read, what was read gets its results, and then the iteration rejects with the
 * reason.
 *
 * Mailers whose provider takes batches get them (Resend: 100 messages each), which never merge recipients of
 * different messages; all others send one by one. `retrying`, `rateLimited` and `observed` keep batches.
 *
 * A caller that stops reading has sent the batches that were begun: one, if it stops within the first. To go
 * on later, keep `next` of `onProgress` and begin there with `start`; a bulk into {@linkcode outbox} under
 * the same keys may simply be repeated.
 *
 * @throws {TypeError} when the messages cannot be iterated, or an option is not known
 * @throws {RangeError} when `concurrency` is not a positive integer
 * @category Mail
 * @example
 * ```ts
 * import { memoryMailer, sendBulk } from "@holdfast/edge/mail";
 * const mailer = memoryMailer();
 * const messages = ["jane@example.com", "john@example.com", "nobody"].map((to) => (
 *   { from: "shop@example.com", to, subject: "Hello", text: "Hello" }
 * ));
 * const failed: number[] = [];
 * for await (const { state, index } of sendBulk(mailer, messages)) if (state === "failed") failed.push(index);
 * if (mailer.outbox.length !== 2 || failed.join() !== "2") throw new Error("unexpected");
 * ```
 */
export function sendBulk(
  mailer: Mailer,
  messages: Iterable<Message> | AsyncIterable<Message>,
  options: BulkOptions = {},
): AsyncIterableIterator<BulkResult> {
  checkMailer(TASK, mailer);
  checkOptionNames(TASK, options, OPTIONS);
  const { concurrency = 5, idempotencyKey, start = 0, onProgress } = options;
  checkInteger(TASK, "concurrency", concurrency);
  checkFunction(TASK, "idempotencyKey", idempotencyKey);
  checkFunction(TASK, "onProgress", onProgress);
  checkInteger(TASK, "start", start, 0);
  const open = (messages as AsyncIterable<Message>)?.[Symbol.asyncIterator] ??
    (messages as Iterable<Message>)?.[Symbol.iterator];
  need(typeof messages === "object" && open, "messages", "must be iterable");
  // The input is opened by the first `next()`: a bulk that is never read opens nothing.
  return (async function* () {
    yield* new BulkRun(mailer, open.call(messages), { ...options, concurrency, start }).results();
  })();
}
