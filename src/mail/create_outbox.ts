/** The outbox of mail over an atomic store: checks the options and makes it. */
import { toMilliseconds } from "../duration.ts";
import { QUEUE_OPTIONS, queueSettings } from "../outbox/queue_settings.ts";
import { StoredOutbox } from "../outbox/stored_outbox.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { checkFunction, checkOneOf, checkOptionNames, checkStore, type OptionNames } from "../validate.ts";
import { checkMailer } from "./_combinator.ts";
import { StoredMailOutbox } from "./_mail_outbox.ts";
import type { Mailer } from "./mailer.ts";
import type { MailOutbox, MailOutboxOptions } from "./outbox.ts";

/**
 * An outbox in front of a mailer. A message takes two transitions to queue and three to send, and ten
 * messages share one more. It holds up to `buckets × 500` messages, each with its attachments within the
 * engine's value limit (Deno KV: 64 KiB, Durable Objects: 2 MB, Upstash: 900 KB).
 *
 * A drainer that dies leaves its messages to the next one, after their lease. What it had begun to send goes
 * out again only under a key that the mailer deduplicates; with other mailers it is held as in doubt, unless
 * `whenUnknown` is `resend`.
 *
 * Recipients that were refused for now stay queued: later attempts are for them alone. It needs a mailer with
 * `selectsRecipients`, as those that answer per recipient have it; in doubt or dead, such a message is
 * requeued for them alone. {@linkcode sendBulk} queues through it one by one. The drainer sends several
 * messages at once, each by a call of its own.
 *
 * @throws {TypeError} when an option is not known
 * @throws {RangeError} when an option is not positive
 * @category Outbox
 * @example
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { memoryMailer, outbox } from "@holdfast/edge/mail";
 * const memory = memoryMailer();
 * const mailer = outbox(memory, memoryStore());
 * const receipt = await mailer.send(
 *   { from: "shop@example.com", to: "jane@example.com", subject: "Order 17", text: "Thank you." },
 *   { idempotencyKey: "order-17" },
 * );
 * if (receipt.state !== "queued") throw new Error("unexpected");
 * const { sent } = await mailer.drain();
 * if (sent !== 1 || memory.outbox.length !== 1) throw new Error("unexpected");
 * ```
 *
 * @example Drained by a Durable Object's alarm, behind a response and by a cron
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { memoryMailer, outbox } from "@holdfast/edge/mail";
 * const mailer = outbox(memoryMailer(), memoryStore());
 * export class Postman {
 *   constructor(readonly ctx: { storage: { setAlarm(time: number): Promise<void> } }) {}
 *   async alarm() {
 *     const { nextAfter } = await mailer.drain({ limit: 100 });
 *     if (nextAfter !== undefined) await this.ctx.storage.setAlarm(Date.now() + nextAfter);
 *   }
 * }
 * export const worker = {
 *   fetch(_request: Request, _env: unknown, ctx: { waitUntil(work: Promise<unknown>): void }) {
 *     ctx.waitUntil(mailer.drain()); // what does not get done in time is done by the next one
 *     return new Response();
 *   },
 *   scheduled: () => mailer.drain(),
 * };
 * ```
 */
export function outbox(mailer: Mailer, store: AtomicStore, options: MailOutboxOptions = {}): MailOutbox {
  checkMailer(TASK, mailer);
  checkStore(TASK, store);
  checkOptionNames(TASK, options, OPTIONS);
  const { name = "outbox", whenUnknown = "hold", attemptTimeout, onFault } = options;
  checkOneOf(TASK, "whenUnknown", whenUnknown, ["hold", "resend"]);
  checkFunction(TASK, "onFault", onFault);
  const queue = new StoredOutbox(queueSettings(TASK, store.namespace(name), options));
  return new StoredMailOutbox(queue, {
    mailer,
    clock: queue.settings.clock,
    attemptTimeout: attemptTimeout === undefined
      ? undefined
      : toMilliseconds(attemptTimeout, "attemptTimeout"),
    resend: whenUnknown === "resend",
    onFault,
  });
}

const TASK = "make an outbox";
const OPTIONS = {
  ...QUEUE_OPTIONS,
  name: true,
  attemptTimeout: true,
  whenUnknown: true,
  onFault: true,
} satisfies OptionNames<MailOutboxOptions>;
