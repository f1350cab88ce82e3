import { idempotent } from "../mail/idempotent.ts";
import { MailError } from "../mail/mail_error.ts";
import type { Message } from "../mail/message.ts";
import { rateLimited } from "../mail/rate_limited.ts";
import { createIdempotency } from "../idempotency/create_idempotency.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { createThrottle } from "../throttle/create_throttle.ts";
import { check, equal, eventually, rejection } from "./_check.ts";
import { ScriptedMailer } from "./_scripted_mailer.ts";
import type { Law, StoreSubject } from "./law.ts";

const message: Message = {
  from: "shop@example.com",
  to: "jane@example.com",
  subject: "Order 17",
  text: "Thank you.",
};
const keyed = { idempotencyKey: "order-17" };

/**
 * The laws of mailers that isolates share through a store, on every engine.
 *
 * @category Laws
 */
export const mailCoordinationLaw: readonly Law<StoreSubject<AtomicStore>>[] = [
  {
    name: "idempotent: of many isolates one sends, and all get its receipt",
    async run({ store, clock, wait }) {
      const mailer = new ScriptedMailer(false);
      const isolates = Array.from(
        { length: 5 },
        () => idempotent(mailer, createIdempotency(store, { clock })),
      );
      const sent = isolates.flatMap((isolate) => [1, 2].map(() => isolate.send(message, keyed)));
      const receipts = await eventually(Promise.all(sent), wait, 30_000);
      equal(receipts, Array(10).fill({ mailer: "scripted", id: "taken-1" }), "receipts");
      equal(mailer.attempts, 1, "attempts");
    },
  },
  {
    name:
      "idempotent: a message that was not sent frees its key; after a lost reply the key stays in doubt everywhere",
    async run({ store, clock }) {
      const mailer = new ScriptedMailer(false);
      const isolate = () => idempotent(mailer, createIdempotency(store, { clock }));
      mailer.script.push("busy", "lost-reply");
      const busy = await rejection(() => isolate().send(message, keyed), "busy");
      check(busy instanceof MailError && busy.delivery === "not-sent" && busy.retryable, `busy: ${busy}`);
      const lost = await rejection(() => isolate().send(message, keyed), "a lost reply");
      check(lost instanceof MailError && lost.delivery === "unknown", `a lost reply: ${lost}`);
      const again = await rejection(() => isolate().send(message, keyed), "again");
      check(again instanceof MailError, `again: ${again}`);
      equal([again.code, again.delivery, again.retryable], ["in-doubt", "unknown", false], "again");
      equal([mailer.attempts, mailer.accepted.length], [2, 1], "attempts and taken");
    },
  },
  {
    name: "idempotent: where the mailer deduplicates, an unknown outcome is repeated under the key",
    async run({ store, clock }) {
      const mailer = new ScriptedMailer(true);
      const isolate = () => idempotent(mailer, createIdempotency(store, { clock }));
      mailer.script.push("lost-reply");
      const lost = await rejection(() => isolate().send(message, keyed), "a lost reply");
      check(lost instanceof MailError && lost.retryable, `a lost reply: ${lost}`);
      await isolate().send(message, keyed);
      equal([mailer.attempts, mailer.accepted.length], [2, 1], "attempts and taken");
    },
  },
  {
    name: "rateLimited: isolates together send no more than the rate, and refusals say when to try again",
    async run({ store, clock }) {
      const mailer = new ScriptedMailer(false);
      const isolates = Array.from(
        { length: 4 },
        () =>
          rateLimited(
            mailer,
            createThrottle(store, { name: "mail", limit: 3, window: "1h", timeout: "30s" }),
            {
              clock,
              wait: 0,
            },
          ),
      );
      const outcomes = await Promise.allSettled(
        isolates.flatMap((isolate) => [1, 2, 3].map(() => isolate.send(message))),
      );
      equal(mailer.accepted.length, 3, "taken");
      for (const outcome of outcomes) {
        if (outcome.status === "fulfilled") continue;
        const { code, delivery, retryable, retryAfter } = outcome.reason as MailError;
        equal([code, delivery, retryable], ["rate-limited", "not-sent", true], "the error");
        check(retryAfter! > 0 && retryAfter! <= 20 * 60_000, `retry after ${retryAfter}`);
      }
    },
  },
];
