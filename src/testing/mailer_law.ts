import type { BulkOptions, BulkResult } from "../mail/bulk.ts";
import { sendBulk } from "../mail/send_bulk.ts";
import { MailError } from "../mail/mail_error.ts";
import type { Mailer, SendOptions } from "../mail/mailer.ts";
import type { Message } from "../mail/message.ts";
import { check, equal, rejection } from "./_check.ts";
import type { Law } from "./law.ts";

/**
 * A message as the provider or server took it.
 *
 * @category Laws
 */
export interface DeliveredMail {
  /** The sender's address. */
  readonly from: string;
  /** All recipients, in any order. */
  readonly recipients: readonly string[];
  /** The addresses that its recipients can see: to, cc and reply-to. */
  readonly visible: readonly string[];
  /** Its subject. */
  readonly subject: string;
  /** Its text. */
  readonly text: string | undefined;
  /** Its HTML. */
  readonly html: string | undefined;
  /** Further headers, by lower-case name. */
  readonly headers: Readonly<Record<string, string>>;
  /** Its files, the invitation left out. */
  readonly attachments: readonly { readonly filename: string; readonly bytes: Uint8Array }[];
}

/**
 * The subject of the laws of a mailer: the mailer, and the messages that arrived.
 *
 * @category Laws
 */
export interface MailerSubject {
  /** The mailer. */
  readonly mailer: Mailer;
  /** The messages that were taken so far, in order. */
  accepted(): readonly DeliveredMail[] | Promise<readonly DeliveredMail[]>;
}

/**
 * The faults of the other side.
 *
 * @category Laws
 */
export type MailerFault =
  /** It takes the message, and its reply gets lost. */
  | "lost-reply"
  /** It refuses every message for now. */
  | "busy"
  /** It refuses the message for good. */
  | "refused"
  /** It refuses the credentials. */
  | "unauthorized"
  /** It sends no reply. */
  | "silent";

/**
 * A mailer whose other side can be made to fail.
 *
 * @category Laws
 */
export interface FailingMailerSubject extends MailerSubject {
  /** Makes it fail from now on; `undefined` ends that. */
  fail(fault: MailerFault | undefined): void;
}

const message: Message = {
  from: "Shop <shop@example.com>",
  to: ["Jane Doe <jane@example.com>", "john@example.com"],
  subject: "Your order",
  text: "It is on its way.",
};

/**
 * The laws of every mailer.
 *
 * @category Laws
 */
export const mailerLaw: readonly Law<MailerSubject>[] = [
  {
    name: "a message is taken once, as it was written",
    async run({ mailer, accepted }) {
      const receipt = await mailer.send({ ...message, html: "<p>Grüße 😀</p>", subject: "Grüße 😀, Jane" });
      equal(receipt.mailer, mailer.name, "the mailer");
      const all = await accepted();
      equal(all.length, 1, "taken");
      equal(
        [all[0]!.from, all[0]!.subject, all[0]!.text, all[0]!.html, [...all[0]!.recipients].sort()],
        ["shop@example.com", "Grüße 😀, Jane", message.text, "<p>Grüße 😀</p>", [
          "jane@example.com",
          "john@example.com",
        ]],
        "the message",
      );
    },
  },
  {
    name: "a text alone and HTML alone arrive, with lines of any length and any script",
    async run({ mailer, accepted }) {
      const { text: _, ...rest } = message;
      const bodies = [
        "one\ntwo",
        "x".repeat(5000),
        `${"Grüße\n".repeat(50)}Jane`,
        "日本語😀".repeat(200),
        ".\n..\nFrom me\n= =20",
      ];
      for (const body of bodies) {
        await mailer.send({ ...rest, text: body });
        await mailer.send({ ...rest, html: body });
      }
      const unix = (text: string | undefined) => text?.replaceAll("\r\n", "\n");
      const all = await accepted();
      equal(all.map(({ text }) => unix(text)).filter((text) => text), bodies, "texts");
      equal(all.map(({ html }) => unix(html)).filter((html) => html), bodies, "HTML");
    },
  },
  {
    name: "each recipient gets it once, and no header names those in bcc",
    async run({ mailer, accepted }) {
      const bcc = ["secret@example.com", "jane@example.com"];
      await mailer.send({ ...message, cc: "cc@example.com", bcc, replyTo: "help@example.com" });
      const [mail] = await accepted();
      equal(
        [...mail!.recipients].sort(),
        ["cc@example.com", "jane@example.com", "john@example.com", "secret@example.com"],
        "recipients",
      );
      equal(
        [...mail!.visible].sort(),
        ["cc@example.com", "help@example.com", "jane@example.com", "john@example.com"],
        "visible",
      );
      check(!JSON.stringify(mail!.headers).includes("secret"), "a header names a recipient of bcc");
    },
  },
  {
    name: "files of every length and kind arrive exactly",
    async run({ mailer, accepted }) {
      const bytes = Array.from(
        { length: 64 },
        (_, i) => Uint8Array.from({ length: i + 1 }, (_, j) => 255 - i - j),
      );
      const stream = () => new Blob(["in ", "pieces"]).stream();
      const kinds = ["Grüße", new Uint8Array([1]).buffer, new Blob(["blob"]), stream(), stream];
      const content = [...bytes, ...kinds];
      await mailer.send({
        ...message,
        attachments: content.map((content, i) => ({ filename: `${i}.bin`, content })),
      });
      const [mail] = await accepted();
      const encode = (text: string) => new TextEncoder().encode(text);
      const expected = [...bytes, encode("Grüße"), new Uint8Array([1]), encode("blob"), encode("in pieces")];
      equal(
        mail!.attachments.map(({ filename, bytes }) => [filename, bytes]),
        [...expected, encode("in pieces")].map((bytes, i) => [`${i}.bin`, bytes]),
        "files",
      );
    },
  },
  {
    name: "the headers of a list arrive, so one click unsubscribes",
    async run({ mailer, accepted }) {
      await mailer.send({
        ...message,
        headers: { "X-Order": "17" },
        unsubscribe: { url: "https://example.com/leave?u=1", mailto: "leave@example.com" },
      });
      const { headers } = (await accepted())[0]!;
      equal(headers["x-order"], "17", "a header");
      equal(
        headers["list-unsubscribe"],
        "<https://example.com/leave?u=1>, <mailto:leave@example.com>",
        "List-Unsubscribe",
      );
      equal(headers["list-unsubscribe-post"], "List-Unsubscribe=One-Click", "List-Unsubscribe-Post");
    },
  },
  {
    name: "an unsupported feature is refused before anything is sent, and every supported one arrives",
    async run({ mailer, accepted }) {
      const { to: _, ...nobody } = message;
      const wishes: Partial<Message>[] = [
        { ...nobody, bcc: "secret@example.com" },
        { sendAt: new Date(Date.now() + 3_600_000) },
        { sendAt: new Date(Date.now() + 4 * 365 * 24 * 3_600_000) },
        { tags: ["welcome"] },
        { tags: ["not everybody's tag, is it?"] },
        { metadata: { order: "17" } },
        { headers: { "X-Name": "Jörg 😀" } },
        {
          html: "<img src=cid:logo@x>",
          attachments: [{ filename: "logo.png", content: "png", contentId: "logo@x" }],
        },
        { attachments: [{ filename: "empty.txt", content: "" }] },
        {
          attachments: [{
            filename: 'Grüße 😀, "quoted".txt',
            content: "x",
            contentType: "text/plain; charset=utf-8",
          }],
        },
        { calendar: { method: "REQUEST", content: "BEGIN:VCALENDAR\r\nEND:VCALENDAR" } },
        { to: Array.from({ length: 200 }, (_, i) => `r${i}@example.com`) },
        { to: '"Doe, Jane \\"JD\\"" <jane@example.com>' },
        { to: "jörg@example.com" },
        { to: "jane@bücher.example" },
      ];
      for (const [i, wish] of wishes.entries()) {
        const before = (await accepted()).length;
        const whole = wish.from ? wish as Message : { ...message, ...wish };
        const outcome = await mailer.send(whole).catch((error) => error);
        const taken = (await accepted()).length - before;
        if (outcome instanceof MailError) {
          equal([outcome.code, outcome.delivery, taken], ["unsupported", "not-sent", 0], `wish ${i}`);
        } else equal([outcome.mailer, taken], [mailer.name, 1], `wish ${i}`);
      }
    },
  },
  {
    name: "a message or a key that is not valid is a TypeError that quotes nothing, and nothing is sent",
    async run({ mailer, accepted }) {
      const bad: unknown[] = [undefined, null, "message", {}, { ...message, to: [] }, {
        ...message,
        to: undefined,
      }];
      const evil = [
        "a\r\nBcc: evil@example.com",
        "a\nb",
        "a\0b",
        "a\rb",
        "a\u2028b",
        "a\ud800b",
        "a\x7fb",
      ];
      for (const text of evil) {
        bad.push(
          { ...message, from: text },
          { ...message, from: { name: text, address: "a@example.com" } },
          { ...message, to: { address: `${text}@example.com` } },
          { ...message, cc: [`${text} <a@example.com>`] },
          { ...message, bcc: [`a@example.com${text}`] },
          { ...message, replyTo: [{ name: text, address: "a@example.com" }] },
          { ...message, subject: text },
          { ...message, headers: { [`X-${text}`]: "x" } },
          { ...message, headers: { "X-A": text } },
          { ...message, tags: [text] },
          { ...message, metadata: { name: text } },
          { ...message, unsubscribe: { url: `https://example.com/${text}` } },
          { ...message, attachments: [{ filename: text, content: "x" }] },
          { ...message, attachments: [{ filename: "x", content: "x", contentType: `text/${text}` }] },
          { ...message, attachments: [{ filename: "x", content: "x", contentId: text }] },
        );
      }
      bad.push(
        { ...message, from: 7 },
        { ...message, subject: 7 },
        { ...message, headers: { "X-A": 7 } },
        { ...message, tags: "welcome" },
        { ...message, subject: " " },
        { ...message, text: undefined },
        { ...message, text: "a\0b" },
        { ...message, text: "a\ud800b" },
        { ...message, headers: { From: "evil@example.com" } },
        { ...message, headers: { "bCC": "evil@example.com" } },
        { ...message, headers: { "Content-Type": "text/html" } },
        { ...message, headers: { "X-A": "1", "x-a": "2" } },
        { ...message, to: "Jane Doe jane@example.com" },
        { ...message, to: "jane doe@example.com" },
        { ...message, to: "jane@example.com>" },
        { ...message, to: "jane@example.com, john@example.com" },
        { ...message, sendAt: new Date(NaN) },
        { ...message, attachments: [{ filename: "x", content: 7 }] },
      );
      for (const [i, one] of bad.entries()) {
        const error = await rejection(() => mailer.send(one as Message), `bad message ${i}`);
        check(error instanceof TypeError, `bad message ${i}: ${error}`);
        check(!/evil|jane|john|\n/.test(error.message), `bad message ${i} is quoted: ${error.message}`);
      }
      for (const idempotencyKey of ["", "two words", "a\r\nb", "ü", "x".repeat(257)]) {
        const error = await rejection(() => mailer.send(message, { idempotencyKey }), "a bad key");
        check(error instanceof TypeError, `a bad key: ${error}`);
      }
      equal((await accepted()).length, 0, "taken");
    },
  },
  {
    name: "a mistyped field or option is a TypeError that names it, and nothing is sent",
    async run({ mailer, accepted }) {
      const messages = [
        { ...message, txet: "x" },
        { ...message, to: { adress: "x", address: "a@example.com" } },
        { ...message, attachments: [{ filename: "a", content: "x", contenttype: "text/plain" }] },
        { ...message, unsubscribe: { uri: "https://example.com/leave" } },
      ] as unknown as Message[];
      for (const [i, one] of messages.entries()) {
        const error = await rejection(() => mailer.send(one), `message ${i}`);
        check(
          error instanceof TypeError && /txet|adress|contenttype|uri/.test(error.message),
          `message ${i}: ${error}`,
        );
      }
      const options = { idempotencykey: "order-17" } as unknown as SendOptions;
      const error = await rejection(() => mailer.send(message, options), "an option");
      check(error instanceof TypeError && error.message.includes("idempotencykey"), `an option: ${error}`);
      equal((await accepted()).length, 0, "taken");
    },
  },
  {
    name: "a message for some of its recipients reaches them alone, or is unsupported",
    async run({ mailer, accepted }) {
      const recipients = ["john@example.com"];
      const outcome = await mailer.send(message, { recipients }).catch((error) => error);
      const all = await accepted();
      if (mailer.selectsRecipients) {
        equal(
          [outcome.mailer, all.map((mail) => mail.recipients)],
          [mailer.name, [recipients]],
          "recipients",
        );
      } else {
        check(outcome instanceof MailError && outcome.code === "unsupported", `the outcome: ${outcome}`);
        equal(all.length, 0, "taken");
      }
      const strange = await rejection(
        () => mailer.send(message, { recipients: ["eve@example.com"] }),
        "another",
      );
      check(strange instanceof TypeError || strange instanceof MailError, `another: ${strange}`);
      equal((await accepted()).length, all.length, "taken in the end");
    },
  },
  {
    name: "an aborted signal sends nothing, whatever its reason",
    async run({ mailer, accepted }) {
      for (const reason of [new Error("enough"), undefined, null]) {
        const signal = AbortSignal.abort(reason);
        const error = await rejection(() => mailer.send(message, { signal }), "send");
        check(error instanceof MailError, `send: ${error}`);
        equal([error.code, error.delivery, error.retryable], ["aborted", "not-sent", false], "the error");
      }
      equal((await accepted()).length, 0, "taken");
    },
  },
  {
    name:
      "with an unreadable attachment nothing is sent, and a content function is called again at the next attempt",
    async run({ mailer, accepted }) {
      const broken = () =>
        new ReadableStream<Uint8Array>({
          pull(controller) {
            controller.enqueue(new Uint8Array(10));
            controller.error(new Error("disk"));
          },
        });
      const error = await rejection(
        () => mailer.send({ ...message, attachments: [{ filename: "x", content: broken() }] }),
        "a broken stream",
      );
      check(error instanceof MailError, `a broken stream: ${error}`);
      equal([error.code, error.delivery], ["attachment-unreadable", "not-sent"], "the error");
      equal((await accepted()).length, 0, "taken");
      let asked = 0;
      const content = () => asked++ === 0 ? broken() : "there";
      const again = { ...message, attachments: [{ filename: "x", content }] };
      await rejection(() => mailer.send(again), "the first time");
      await mailer.send(again);
      equal((await accepted()).length, 1, "taken the second time");
    },
  },
  {
    name: "a mailer that deduplicates sends once per key, and refuses another message under the same key",
    async run({ mailer, accepted }) {
      const options: SendOptions = { idempotencyKey: "order-17" };
      const first = await mailer.send(message, options);
      const second = await mailer.send(message, options);
      equal((await accepted()).length, mailer.deduplicates ? 1 : 2, "taken");
      if (!mailer.deduplicates) return;
      equal(second, first, "the receipt");
      const other = { ...message, subject: "Another" };
      const error = await rejection(() => mailer.send(other, options), "another message");
      check(error instanceof MailError && error.code === "fingerprint-mismatch", `another message: ${error}`);
      equal((await accepted()).length, 1, "taken in the end");
    },
  },
  {
    name: "a bulk has one result per message, in order, and an invalid message stops no other",
    async run({ mailer, accepted }) {
      const results = await collect(mailer, numbered(25, (i) => i % 10 === 3));
      equal(results.map(({ index }) => index), Array.from({ length: 25 }, (_, i) => i), "indexes");
      for (const result of results) {
        const { index, state } = result;
        equal(state, index % 10 === 3 ? "failed" : "sent", `message ${index}`);
        if (result.state === "failed") equal(result.error.delivery, "not-sent", `message ${index}`);
      }
      const taken = await accepted();
      equal(taken.length, 22, "taken");
      check(
        taken.every(({ recipients }) => recipients.length === 1),
        "recipients of different messages meet",
      );
      equal(
        taken.map(({ recipients: [to], subject }) => to!.split("@")[0] === subject.replace(" ", "")),
        taken.map(() => true),
        "recipients by message",
      );
      equal(await collect(mailer, []), [], "an empty bulk");
    },
  },
  {
    name: "a bulk reads an endless input only as far as it is sent, and closes it",
    async run({ mailer }) {
      let read = 0;
      let closed = false;
      const endless = async function* () {
        try {
          for (;;) yield { ...message, subject: `number ${await Promise.resolve(read++)}` };
        } finally {
          closed = true;
        }
      };
      let index = 0;
      for await (const result of sendBulk(mailer, endless(), { concurrency: 2 })) {
        equal([result.index, result.state], [index++, "sent"], "result");
        check(read - index <= 400, `${read} read for ${index} results`);
        if (index === 5) break;
      }
      equal([index, closed], [5, true], "results and the input closed");
    },
  },
  {
    name:
      "an aborted bulk yields a result for each message it read, reads no more, and rejects with the reason",
    async run({ mailer, accepted }) {
      const controller = new AbortController();
      let read = 0;
      const endless = async function* () {
        for (;;) {
          if (read === 250) controller.abort(new Error("enough"));
          yield { ...message, subject: `number ${await Promise.resolve(read++)}` };
        }
      };
      const results: BulkResult[] = [];
      const bulk = sendBulk(mailer, endless(), { signal: controller.signal, concurrency: 2 });
      const error = await rejection(async () => {
        for await (const result of bulk) results.push(result);
      }, "the bulk");
      equal((error as Error).message, "enough", "the reason");
      check(read <= 252 && results.length >= 250, `${read} read, ${results.length} results`);
      const known = results.filter(({ state }) => state === "sent").length;
      const unknown =
        results.filter((one) => one.state === "failed" && one.error.delivery === "unknown").length;
      const taken = (await accepted()).length;
      check(known <= taken && taken <= known + unknown, `${known} sent, ${unknown} unknown, ${taken} taken`);
    },
  },
  {
    name:
      "a bulk whose input fails yields a result for each message it read, then rejects with the input's error",
    async run({ mailer }) {
      const results: BulkResult[] = [];
      const broken = function* () {
        yield* numbered(7, () => false);
        throw new Error("database");
      };
      const error = await rejection(async () => {
        for await (const result of sendBulk(mailer, broken())) results.push(result);
      }, "the bulk");
      equal((error as Error).message, "database", "the reason");
      equal(results.map(({ index, state }) => [index, state]), results.map((_, i) => [i, "sent"]), "results");
      equal(results.length, 7, "how many");
    },
  },
];

/**
 * The laws of a mailer whose other side fails.
 *
 * @category Laws
 */
export const mailerFaultLaw: readonly Law<FailingMailerSubject>[] = [
  {
    name: "a lost answer leaves the delivery unknown, repeatable only under a key that the provider honours",
    async run({ mailer, accepted, fail }) {
      fail("lost-reply");
      const without = await failed(mailer, message);
      equal(
        [without.delivery, without.ambiguous, without.retryable],
        ["unknown", true, false],
        "without a key",
      );
      equal((await accepted()).length, 1, "taken without a key");
      const options = { idempotencyKey: "order-17" };
      const keyed = await failed(mailer, message, options);
      equal([keyed.delivery, keyed.retryable], ["unknown", mailer.deduplicates], "with a key");
      equal((await accepted()).length, 2, "taken with a key");
      fail(undefined);
      if (!keyed.retryable) return;
      await mailer.send(message, options);
      equal((await accepted()).length, 2, "taken after repeating");
    },
  },
  {
    name: "after a lost answer each delivery of a bulk is unknown, and each message was taken once",
    async run({ mailer, accepted, fail }) {
      fail("lost-reply");
      const results = await collect(mailer, numbered(12, () => false));
      for (const result of results) {
        check(result.state === "failed" && result.error.delivery === "unknown", `message ${result.index}`);
        check(!result.error.retryable, `message ${result.index} is said to be repeatable`);
      }
      const subjects = (await accepted()).map(({ subject }) => subject);
      equal([subjects.length, new Set(subjects).size], [12, 12], "taken");
    },
  },
  {
    name: "a busy provider took nothing, and the message may be sent again",
    async run({ mailer, accepted, fail }) {
      fail("busy");
      const error = await failed(mailer, message);
      equal([error.delivery, error.ambiguous, error.retryable], ["not-sent", false, true], "the error");
      check(error.status !== undefined && error.phase !== "prepare", "the reply");
      equal((await accepted()).length, 0, "taken");
      fail(undefined);
      await mailer.send(message);
      equal((await accepted()).length, 1, "taken after repeating");
    },
  },
  {
    name: "a refusal is final",
    async run({ mailer, accepted, fail }) {
      for (const fault of ["refused", "unauthorized"] as const) {
        fail(fault);
        const error = await failed(mailer, message, { idempotencyKey: "order-17" });
        equal([error.delivery, error.retryable], ["not-sent", false], fault);
        equal(error.code, fault === "refused" ? "message-rejected" : "unauthorized", fault);
        check(!/@|jane|john/.test(error.message), `an address in: ${error.message}`);
      }
      equal((await accepted()).length, 0, "taken");
    },
  },
  {
    name:
      "a provider that does not answer is a timeout, and an abort ends the wait; both leave the delivery unknown",
    async run({ mailer, fail }) {
      await mailer.send(message); // what follows is not about connecting
      fail("silent");
      const late = await onceSent((timeout) => failed(mailer, message, { timeout }));
      equal([late.code, late.delivery], ["timeout", "unknown"], "a timeout");
      fail(undefined);
      await mailer.send(message);
      fail("silent");
      const aborted = await onceSent(async (milliseconds) => {
        const controller = new AbortController();
        const timer = setTimeout(() => controller.abort(new Error("enough")), milliseconds);
        return await failed(mailer, message, { signal: controller.signal }).finally(() =>
          clearTimeout(timer)
        );
      });
      equal([aborted.code, aborted.delivery, aborted.retryable], ["aborted", "unknown", false], "an abort");
      fail(undefined);
    },
  },
];

/**
 * The error of an attempt that was given up when everything had been sent: one that a busy machine had not
 * come to send is made again with more time.
 */
async function onceSent(attempt: (milliseconds: number) => Promise<MailError>): Promise<MailError> {
  for (const milliseconds of [100, 1000]) {
    const error = await attempt(milliseconds);
    if (error.delivery !== "not-sent") return error;
  }
  return await attempt(10_000);
}

async function failed(mailer: Mailer, message: Message, options?: SendOptions): Promise<MailError> {
  const error = await rejection(() => mailer.send(message, options), "send");
  check(error instanceof MailError, `it rejects with no MailError but ${error}`);
  equal(error.mailer, mailer.name, "whose error");
  return error;
}

async function collect(
  mailer: Mailer,
  messages: Iterable<Message> | AsyncIterable<Message>,
  options?: BulkOptions,
): Promise<BulkResult[]> {
  const results: BulkResult[] = [];
  for await (const result of sendBulk(mailer, messages, options)) results.push(result);
  return results;
}

/** Messages to one recipient each, whose subject says which. */
function* numbered(count: number, bad: (i: number) => boolean): Generator<Message> {
  for (let i = 0; i < count; i++) {
    yield { ...message, to: bad(i) ? "nobody" : `number${i}@example.com`, subject: `number ${i}` };
  }
}
