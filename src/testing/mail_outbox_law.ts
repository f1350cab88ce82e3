import { outbox } from "../mail/create_outbox.ts";
import { MailError } from "../mail/mail_error.ts";
import type { Message } from "../mail/message.ts";
import type { MailOutboxOptions, MailOutboxReport } from "../mail/outbox.ts";
import { beginItem, extendItems, settleItem } from "../outbox/outbox_transitions.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { deferred } from "../deferred.ts";
import { check, equal, rejection } from "./_check.ts";
import { drained, entriesOf } from "./_outboxes.ts";
import { mortal, ScriptedMailer } from "./_scripted_mailer.ts";
import type { Law, StoreSubject } from "./law.ts";

/**
 * The laws of an outbox of mail, on every engine.
 *
 * @category Laws
 */
export const mailOutboxLaw: readonly Law<StoreSubject<AtomicStore>>[] = [
  {
    name: "another outbox on the same store sends a queued message, unchanged and under its key",
    async run({ store, clock }) {
      const mailer = new ScriptedMailer(true);
      const message: Message = {
        ...mail("Grüße 😀"),
        from: { name: "Doe, Jane 日本", address: "shop@example.com" },
        bcc: ["secret@example.com"],
        html: "<p>\u0001ü</p>",
        headers: { "X-Order": "17" },
        tags: ["a"],
        metadata: { __proto__x: "1" },
        unsubscribe: { url: "https://example.com/leave" },
        attachments: [
          { filename: "ü.bin", content: Uint8Array.from({ length: 256 }, (_, i) => i), contentId: "c@x" },
          { filename: "empty", content: "", contentType: "text/plain" },
        ],
      };
      const receipt = await outbox(mailer, store, { clock }).send(message, { idempotencyKey: "order-17" });
      equal([receipt.mailer, receipt.state], ["outbox", "queued"], "the receipt");
      equal(mailer.attempts, 0, "attempts before draining");
      const other = outbox(mailer, store, { clock });
      const waiting = await other.read(receipt.id);
      equal(waiting?.subject, "Grüße 😀", "what is read");
      equal(await other.drain(), report({ sent: 1 }), "the report");
      equal(mailer.accepted.map(({ key }) => key), ["order-17"], "keys");
      const { attachments, ...rest } = mailer.accepted[0]!.message;
      const { attachments: files, ...expected } = waiting!;
      equal(rest, expected, "the message");
      equal(rest.headers, {
        "X-Order": "17",
        "List-Unsubscribe": "<https://example.com/leave>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
      }, "headers");
      equal(await attachments[0]!.content(), Uint8Array.from({ length: 256 }, (_, i) => i), "bytes");
      equal(
        attachments.map(({ filename, contentType, contentId }) => [filename, contentType, contentId]),
        files.map(({ filename, contentType, contentId }) => [filename, contentType, contentId]),
        "files",
      );
      equal(await other.drain(), report({}), "a second drain");
      equal(await other.read(receipt.id), undefined, "what is left");
    },
  },
  {
    name:
      "the same key is queued once, also at once and after it was sent, and another message under it is refused",
    async run({ store, clock }) {
      const mailer = new ScriptedMailer(false);
      const box = outbox(mailer, store, { clock });
      const send = (subject: string) => box.send(mail(subject), { idempotencyKey: "order-17" });
      const receipts = await Promise.all(Array.from({ length: 10 }, () => send("once")));
      equal(new Set(receipts.map(({ id, state }) => `${id} ${state}`)).size, 1, "receipts");
      equal((await box.drain()).sent, 1, "sent");
      equal((await send("once")).state, "sent", "the state of a later one");
      equal((await box.drain()).sent, 0, "sent later");
      const error = await rejection(() => send("another"), "another message");
      check(error instanceof MailError && error.code === "fingerprint-mismatch", `another message: ${error}`);
      equal(mailer.subjects(), ["once"], "taken");
    },
  },
  {
    name: "of several drainers at once each message is sent by one",
    async run({ store, clock }) {
      const mailer = new ScriptedMailer(false);
      const subjects = Array.from({ length: 60 }, (_, i) => `number ${i}`);
      await Promise.all(
        subjects.map((subject) => outbox(mailer, store, { clock, buckets: 4 }).send(mail(subject))),
      );
      const boxes = Array.from({ length: 4 }, () => outbox(mailer, store, { clock, buckets: 4 }));
      const reports = await Promise.all(boxes.map((box) => box.drain()));
      equal(reports.reduce((sum, { sent }) => sum + sent, 0), 60, "sent");
      equal([...mailer.subjects()].sort(), [...subjects].sort(), "taken");
    },
  },
  {
    name:
      "a killed drainer loses no message: those it had not begun are sent by the next one, after its lease",
    async run({ store, clock, wait }) {
      const mailer = new ScriptedMailer(false);
      const options = { clock, lease: 150, buckets: 1 };
      const box = outbox(mailer, store, options);
      for (let i = 0; i < 3; i++) await box.send(mail(`number ${i}`));
      await kill(mailer, store, options);
      equal((await box.drain()).sent, 0, "sent before");
      await wait(200);
      equal(await box.drain(), report({ sent: 2, inDoubt: 1 }), "after the lease");
      equal([...mailer.subjects()].sort(), ["number 0", "number 1", "number 2"], "taken");
      equal((await entriesOf(box, "in-doubt")).length, 1, "in doubt");
    },
  },
  {
    name:
      "a message that a killed drainer had begun is sent again if the mailer deduplicates, and arrives once",
    async run({ store, clock, wait }) {
      const mailer = new ScriptedMailer(true);
      const options = { clock, lease: 150 };
      const box = outbox(mailer, store, options);
      await box.send(mail("once"));
      await kill(mailer, store, options);
      await wait(200);
      equal(await box.drain(), report({ sent: 1, repeated: 1 }), "after the lease");
      equal([mailer.subjects(), mailer.attempts], [["once"], 2], "taken and attempts");
    },
  },
  {
    name: "a living drainer keeps its messages for as long as sending takes",
    async run({ store, clock, wait }) {
      const mailer = new ScriptedMailer(false);
      const box = outbox(mailer, store, { clock, lease: 150 });
      await box.send(mail("slow"));
      const began = deferred<void>();
      const go = deferred<void>();
      const slow = Object.create(mailer, {
        send: {
          value: async (message: Message) => {
            began.resolve();
            await go.promise;
            return await mailer.send(message);
          },
        },
      });
      const draining = outbox(slow, store, { clock, lease: 150 }).drain();
      await began.promise;
      for (let i = 0; i < 5; i++) {
        await wait(60);
        equal((await box.drain()).sent, 0, "taken from it");
      }
      go.resolve();
      equal((await draining).sent, 1, "sent");
      equal(mailer.subjects(), ["slow"], "taken");
    },
  },
  {
    name: "a drainer that slept beyond its lease sends no message that another drainer has begun",
    async run({ store, clock, wait }) {
      const mailer = new ScriptedMailer(false);
      await outbox(mailer, store, { clock }).send(mail("once"));
      const asks = deferred<void>();
      const wake = deferred<void>();
      const sleepy = new Proxy(store, {
        get(target, name) {
          const value = Reflect.get(target, name, target);
          if (name === "namespace") return (room: string) => asleep(target.namespace(room));
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
      const asleep = (room: AtomicStore): AtomicStore =>
        new Proxy(room, {
          get: (target, name) =>
            name !== "transact"
              ? Reflect.get(target, name, target)
              : async (...call: Parameters<AtomicStore["transact"]>) => {
                if (call[0] === extendItems) throw new Error("asleep");
                if (call[0] === beginItem) {
                  asks.resolve();
                  await wake.promise;
                }
                return await target.transact(...call);
              },
        });
      const sleeping = outbox(mailer, sleepy, { clock, lease: 100, whenUnknown: "resend" }).drain();
      await asks.promise;
      await wait(150);
      const other = new ScriptedMailer(false);
      other.script.push("hang");
      const victim = mortal(store);
      outbox(other, victim.store, { clock, lease: 60_000 }).drain().catch(() => {});
      while (other.attempts === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      wake.resolve();
      equal((await sleeping).sent, 0, "sent by the sleeper");
      victim.kill();
      equal([mailer.attempts, other.accepted.length], [0, 1], "attempts by the sleeper and taken");
    },
  },
  {
    name: "a message whose reply was lost is in doubt, and not sent again until it is requeued",
    async run({ store, clock }) {
      const mailer = new ScriptedMailer(false);
      const box = outbox(mailer, store, { clock });
      const { id } = await box.send(mail("one"), { idempotencyKey: "one" });
      mailer.script.push("lost-reply");
      equal(await box.drain(), report({ inDoubt: 1 }), "the report");
      equal(await box.drain(), report({}), "a second drain");
      const [entry] = await entriesOf(box, "in-doubt");
      equal([entry!.id, entry!.attempts, entry!.code], [id, 1, "backend-unavailable"], "the entry");
      equal((await box.send(mail("one"), { idempotencyKey: "one" })).state, "in-doubt", "the key's state");
      equal([await box.requeue(id), await box.requeue(id)], [true, false], "requeue");
      equal(await box.drain(), report({ sent: 1 }), "after requeueing");
      equal(mailer.accepted.length, 2, "taken, by decision");
    },
  },
  {
    name:
      "an unknown outcome is repeated under its key where the mailer deduplicates, elsewhere only with whenUnknown: resend",
    async run({ store, clock, wait }) {
      for (const deduplicates of [true, false]) {
        const mailer = new ScriptedMailer(deduplicates);
        const whenUnknown = deduplicates ? "hold" : "resend";
        const box = outbox(mailer, store, { clock, delay: 1, whenUnknown, name: String(deduplicates) });
        await box.send(mail("one"));
        mailer.script.push("lost-reply");
        equal(
          await drained(box, report({}), wait),
          report({ sent: 1, repeated: 1, retried: 1 }),
          "the report",
        );
        equal([mailer.attempts, mailer.accepted.length], [2, deduplicates ? 1 : 2], "attempts and taken");
      }
    },
  },
  {
    name: "a message with an attempt of unknown outcome ends in doubt, never dead",
    async run({ store, clock, wait }) {
      const mailer = new ScriptedMailer(true);
      const box = outbox(mailer, store, { clock, delay: 1, attempts: 3 });
      await box.send(mail("one"));
      mailer.script.push("lost-reply", "busy", "busy");
      equal(await drained(box, report({}), wait), report({ retried: 2, inDoubt: 1 }), "the report");
      equal(
        (await entriesOf(box)).map(({ state, attempts }) => [state, attempts]),
        [["in-doubt", 3]],
        "the entry",
      );
    },
  },
  {
    name:
      "an unsent message is tried again, is dead after its last attempt, and starts anew when it is requeued",
    async run({ store, clock, wait }) {
      const mailer = new ScriptedMailer(false);
      const box = outbox(mailer, store, { clock, delay: 1, attempts: 2 });
      const { id } = await box.send(mail("one"));
      mailer.script.push("busy", "busy");
      equal(await drained(box, report({}), wait), report({ retried: 1, dead: 1 }), "the report");
      const [entry] = await entriesOf(box, "dead");
      equal([entry!.id, entry!.attempts, entry!.code], [id, 2, "rate-limited"], "the entry");
      check(await box.requeue(id), "requeue");
      mailer.script.push("busy");
      equal(await drained(box, report({}), wait), report({ sent: 1, retried: 1 }), "after requeueing");
      equal(mailer.subjects(), ["one"], "taken");
    },
  },
  {
    name: "a refused message is not retried and stops no other message; a discarded one frees its key",
    async run({ store, clock }) {
      const mailer = new ScriptedMailer(false);
      const box = outbox(mailer, store, { clock });
      const { id } = await box.send(mail("bad"), { idempotencyKey: "bad" });
      mailer.script.push("refused");
      equal(await box.drain(), report({ dead: 1 }), "the report");
      await box.send(mail("good"));
      equal((await box.drain()).sent, 1, "the other one");
      equal(
        [await box.discard(id), await box.discard(id), await box.requeue(id)],
        [true, false, false],
        "discard",
      );
      equal([await entriesOf(box), await box.read(id)], [[], undefined], "what is left");
      equal((await box.send(mail("good"), { idempotencyKey: "bad" })).state, "queued", "the key again");
    },
  },
  {
    name:
      "recipients with a temporary refusal stay queued and are tried alone, and none gets the message twice",
    async run({ store, clock, wait }) {
      const mailer = new ScriptedMailer(false);
      const box = outbox(mailer, store, { clock, delay: 1 });
      const to = ["a@example.com", "b@example.com", "c@example.com"];
      await box.send({ ...mail("three"), to }, { idempotencyKey: "three" });
      mailer.script.push("defer:b@example.com", "busy", "defer:b@example.com");
      equal(await drained(box, report({}), wait), report({ sent: 1, deferred: 1, retried: 3 }), "the report");
      equal(mailer.accepted.map(({ recipients }) => recipients), [
        ["a@example.com", "c@example.com"],
        ["b@example.com"],
      ], "recipients");
      equal(mailer.accepted.map(({ key }) => key), ["three", "three"], "keys");
      equal(
        (await box.send({ ...mail("three"), to }, { idempotencyKey: "three" })).state,
        "sent",
        "afterwards",
      );
    },
  },
  {
    name:
      "a drainer that is killed after some recipients got the message leaves the others to the next, without doubt",
    async run({ store, clock, wait }) {
      const mailer = new ScriptedMailer(false);
      const box = outbox(mailer, store, { clock, delay: 1, lease: 150 });
      await box.send({ ...mail("two"), to: ["a@example.com", "b@example.com"] });
      mailer.script.push("defer:b@example.com");
      const victim = mortal(store, settleItem);
      outbox(mailer, victim.store, { clock, delay: 1, lease: 150 }).drain().catch(() => {});
      while (!victim.dead()) await new Promise((resolve) => setTimeout(resolve, 1));
      await wait(200);
      equal(await drained(box, report({}), wait), report({ sent: 1 }), "the report");
      equal(
        mailer.accepted.map(({ recipients }) => recipients),
        [["a@example.com"], ["b@example.com"]],
        "recipients",
      );
    },
  },
  {
    name: "a message whose last recipients were refused too often is dead for them alone",
    async run({ store, clock, wait }) {
      const mailer = new ScriptedMailer(false);
      const box = outbox(mailer, store, { clock, delay: 1, attempts: 2 });
      const { id } = await box.send({ ...mail("two"), to: ["a@example.com", "b@example.com"] });
      mailer.script.push("defer:b@example.com", "defer:b@example.com");
      equal(await drained(box, report({}), wait), report({ deferred: 1, retried: 1, dead: 1 }), "the report");
      check(await box.requeue(id), "requeue");
      equal(await drained(box, report({}), wait), report({ sent: 1 }), "after requeueing");
      equal(
        mailer.accepted.map(({ recipients }) => recipients),
        [["a@example.com"], ["b@example.com"]],
        "recipients",
      );
    },
  },
  {
    name: "a misconfigured mailer is reported and costs no message",
    async run({ store, clock, wait }) {
      const mailer = new ScriptedMailer(false);
      const faults: unknown[] = [];
      const box = outbox(mailer, store, { clock, delay: 1, onFault: (error) => void faults.push(error) });
      await box.send(mail("one"));
      mailer.script.push("unauthorized");
      equal(await drained(box, report({}), wait), report({ sent: 1, retried: 1 }), "the report");
      equal(faults.map((fault) => fault instanceof MailError && fault.code), ["unauthorized"], "faults");
    },
  },
  {
    name: "a message is not sent before it is due, and the report says when that is",
    async run({ store, clock, wait }) {
      const mailer = new ScriptedMailer(false);
      const box = outbox(mailer, store, { clock });
      const now = clock?.now() ?? Date.now();
      await box.send({ ...mail("later"), sendAt: new Date(now + 400) });
      const early = await box.drain();
      equal(early.sent, 0, "sent early");
      check(early.nextAfter! > 0 && early.nextAfter! <= 600, `next after ${early.nextAfter}`);
      await wait(early.nextAfter! + 20);
      equal((await box.drain()).sent, 1, "sent in time");
      equal(mailer.accepted[0]!.message.sendAt, undefined, "what the provider is asked");
    },
  },
  {
    name: "drain() keeps its limit, takes no message after an abort, and leaves the rest due",
    async run({ store, clock }) {
      const mailer = new ScriptedMailer(false);
      const box = outbox(mailer, store, { clock, buckets: 1, attempts: 1 });
      for (let i = 0; i < 12; i++) await box.send(mail(`number ${i}`));
      const some = await box.drain({ limit: 5 });
      equal([some.sent, some.nextAfter], [5, 0], "with a limit");
      const stop = new AbortController();
      const stopping = Object.create(mailer, {
        send: {
          value: async (message: Message) => {
            stop.abort();
            return await mailer.send(message);
          },
        },
      });
      const stopped = await outbox(stopping, store, { clock, buckets: 1, attempts: 1 })
        .drain({ signal: stop.signal, concurrency: 1 });
      equal([stopped.sent, stopped.nextAfter], [1, 0], "aborted");
      equal((await box.drain()).sent, 6, "the rest");
      equal(mailer.accepted.length, 12, "taken");
    },
  },
  {
    name: "a message leaves after its retention, and that is reported",
    async run({ store, clock, wait }) {
      const mailer = new ScriptedMailer(false);
      const box = outbox(mailer, store, { clock, retention: 150 });
      await outbox(mailer, store, { clock }).send(mail("kept"));
      await box.send(mail("too old"));
      await wait(200);
      equal(await box.drain(), report({ sent: 1, expired: 1 }), "the report");
      equal([mailer.subjects(), await entriesOf(box)], [["kept"], []], "taken, and what is left");
    },
  },
  {
    name: "a message that the engine cannot hold is refused before anything is queued",
    async run({ store, clock }) {
      const most = store.limits.maxValueLength;
      if (most > 2_100_000) return; // the laws should not need that much memory
      const box = outbox(new ScriptedMailer(false), store, { clock });
      for (const content of ["x".repeat(most), new Uint8Array(Math.ceil(most * 0.76))]) {
        const attachments = [{ filename: "big", content }];
        const error = await rejection(() => box.send({ ...mail("big"), attachments }), "too large");
        check(error instanceof MailError, `too large: ${error}`);
        equal([error.code, error.delivery], ["message-too-large", "not-sent"], "the error");
      }
      equal(await entriesOf(box), [], "queued");
      const attachments = [{ filename: "fits", content: new Uint8Array(Math.floor(most * 0.7)) }];
      await box.send({ ...mail("fits 日本"), attachments });
      equal((await box.drain()).sent, 1, "what fits");
    },
  },
];

function mail(subject: string): Message {
  return { from: "shop@example.com", to: "jane@example.com", subject, text: "Thank you." };
}

function report(counts: Partial<MailOutboxReport>): MailOutboxReport {
  return {
    sent: 0,
    repeated: 0,
    rejected: 0,
    deferred: 0,
    retried: 0,
    dead: 0,
    inDoubt: 0,
    expired: 0,
    nextAfter: undefined,
    ...counts,
  };
}

/** A drainer that dies while the provider has taken its first message and not answered yet. */
async function kill(mailer: ScriptedMailer, store: AtomicStore, options: MailOutboxOptions): Promise<void> {
  const victim = mortal(store);
  const attempts = mailer.attempts;
  mailer.script.push("hang");
  outbox(mailer, victim.store, options).drain({ concurrency: 1 }).catch(() => {});
  while (mailer.attempts === attempts) await new Promise((resolve) => setTimeout(resolve, 1));
  victim.kill();
}
