/**
 * Characters that would break a line, put into every string of a message: a typed error, or they arrive as
 * text.
 */
import { MailError, memoryMailer, type Message, prepareMessage } from "@holdfast/edge/mail";
import { assert, assertEquals } from "../support/assert.ts";
import type { AcceptedMail, MailServer } from "../support/mail/http_server.ts";
import { checkMime, parseMime } from "../support/mail/parse.ts";
import { senders } from "../support/mail/providers.ts";
import { Random } from "../support/random.ts";

const SEED = Number(Deno.env.get("SEED") ?? 20261124);
const CASES = Number(Deno.env.get("INJECTION_CASES") ?? 10_000);

/** A message with every field; strings are replaced by what `put` makes of them. */
function every(put: (field: string, value: string) => string): { message: Message; idempotencyKey: string } {
  const message: Message = {
    from: put("from", "Shop <shop@example.com>"),
    to: [
      put("to", "jane@example.com"),
      { name: put("to.name", "John"), address: put("to.address", "john@example.com") },
    ],
    cc: { name: put("cc.name", "Carl"), address: put("cc.address", "carl@example.com") },
    bcc: put("bcc", "secret@example.com"),
    replyTo: put("replyTo", "Help <help@example.com>"),
    subject: put("subject", "Your order"),
    text: put("text", "It is on its way."),
    html: put("html", "<p>It is on its way.</p>"),
    headers: { [put("header name", "X-Order")]: put("header value", "17") },
    tags: [put("tag", "welcome")],
    metadata: { [put("metadata name", "order")]: put("metadata value", "17") },
    unsubscribe: {
      url: put("unsubscribe.url", "https://example.com/leave"),
      mailto: put("unsubscribe.mailto", "leave@example.com"),
    },
    calendar: {
      method: put("calendar.method", "REQUEST") as "REQUEST",
      content: put("calendar.content", "BEGIN:VCALENDAR\r\nEND:VCALENDAR"),
    },
    attachments: [
      {
        filename: put("filename", "a.txt"),
        contentType: put("contentType", "text/plain"),
        content: put("content", "file"),
      },
      { filename: "b.png", contentType: "image/png", contentId: put("contentId", "b@x"), content: "png" },
    ],
  };
  return { message, idempotencyKey: put("idempotencyKey", "order-17") };
}

const fields: string[] = [];
every((field, value) => (fields.push(field), value));

const EVIL = [
  "\r\nBcc: evil@evil.example",
  "\nBcc: evil@evil.example",
  "\rBcc: evil@evil.example",
  "\r\n\r\nevil body",
  "\r\n.\r\nMAIL FROM:<evil@evil.example>\r\n",
  "\r\nX-Evil: 1",
  "\u2028X-Evil: 1",
  "\u2029X-Evil: 1",
  "\u0085X-Evil: 1",
  "\0",
  "\0\r\nX-Evil: 1",
  "%0d%0aX-Evil: 1",
  "=0D=0AX-Evil: 1",
  "=?UTF-8?Q?=0D=0AX-Evil:_1?=",
  ", evil@evil.example",
  "; evil@evil.example",
  " <evil@evil.example>",
  '" <evil@evil.example>, "',
  '"; filename="evil.exe',
  "\r\n--=_",
  "\ud800",
  "\udc00",
  "\\",
  "😀",
  "👩‍👩‍👧",
  "嘊嘍X-Evil: 1", // what becomes CR and LF where only the low byte survives
];

function payload(random: Random): string {
  return random.chance(0.5)
    ? random.pick(EVIL)
    : String.fromCharCode(random.pick([random.below(32), 127 + random.below(33)]));
}

/** Only the intended recipients get it, and no header or file was added. */
function checkMail(mail: AcceptedMail, meant: ReturnType<typeof prepareMessage>): void {
  const addresses = (list: readonly { readonly address: string }[]) =>
    list.map(({ address }) => address).sort();
  const unquoted = (list: readonly { readonly address: string }[]) =>
    list.map(({ address }) => address.replace(/^"(.*)"@/, "$1@").replace(/\\(.)/g, "$1")).sort();
  assertEquals(unquoted(mail.to), unquoted(meant.to));
  assertEquals(unquoted(mail.cc), unquoted(meant.cc));
  assertEquals(addresses(mail.bcc), addresses(meant.bcc));
  assertEquals(unquoted(mail.replyTo), unquoted(meant.replyTo));
  assertEquals(unquoted([mail.from]), unquoted([meant.from]));
  const own =
    /^(?:date|message-id|from|to|cc|reply-to|subject|mime-version|content-type|content-transfer-encoding)$/;
  const known = new Set(Object.keys(meant.headers).map((name) => name.toLowerCase()));
  for (const name of Object.keys(mail.headers)) {
    assert(known.has(name) || (mail.raw && own.test(name)), `a header ${name}`);
  }
  assertEquals(mail.subject.trim(), meant.subject.trim());
  const files = mail.attachments.filter(({ filename }) => filename !== "invite.ics").length;
  assertEquals(files, 2);
  const everybody = [meant.from, ...meant.to, ...meant.cc, ...meant.bcc, ...meant.replyTo];
  // SMTPUTF8 alone brings more than 7 bits.
  if (mail.raw) checkMime(mail.raw, { eightBit: everybody.some(({ address }) => /[^ -~]/.test(address)) });
}

Deno.test(`injection: ${CASES} cases end in a typed error or harmless, on every mailer's wire`, async () => {
  const servers: MailServer[] = [];
  const wires: {
    name: string;
    send: (message: Message, idempotencyKey: string) => Promise<AcceptedMail | undefined>;
  }[] = [];
  for (const [name, { start, mailer: make }] of Object.entries(senders)) {
    const server = await start();
    const mailer = make(server.url);
    servers.push(server);
    wires.push({
      name,
      async send(message, idempotencyKey) {
        server.reset();
        const outcome = await mailer.send(message, { idempotencyKey }).catch((error) => error);
        if (outcome instanceof MailError) {
          assertEquals([outcome.code, server.accepted.length], ["unsupported", 0], String(outcome));
          return undefined;
        }
        if (outcome instanceof Error) throw outcome;
        assertEquals([server.requests.length, server.accepted.length], [1, 1]);
        return server.accepted[0];
      },
    });
  }
  const memory = memoryMailer({ maxMessages: 1 });
  wires.push({
    name: "memory",
    async send(message) {
      await memory.send(message);
      const { mime, message: kept } = memory.outbox[0]!;
      const bcc = kept.bcc.map(({ address }) => ({ name: "", address }));
      return { ...await parseMime(mime.bytes), id: "", bcc, tags: [], metadata: {}, sendAt: undefined };
    },
  });
  const counts: Record<string, number> = { "typed errors": 0, "harmless": 0 };
  const random = new Random(SEED);
  try {
    for (let i = 0; i < CASES; i++) {
      const field = fields[i % fields.length]!;
      const evil = payload(random);
      const { message, idempotencyKey } = every((name, value) => {
        if (name !== field) return value;
        const at = random.below(value.length + 1);
        return value.slice(0, at) + evil + value.slice(at);
      });
      const where = `seed ${SEED}, case ${i}, ${field}, ${JSON.stringify(evil)}`;
      let meant;
      try {
        meant = prepareMessage(message);
        await memory.send(meant, { idempotencyKey });
        memory.clear();
      } catch (error) {
        assert(error instanceof TypeError, `${where}: ${error}`);
        counts["typed errors"]!++;
        continue;
      }
      counts["harmless"]!++;
      await Promise.all(wires.map(async ({ name, send }) => {
        try {
          const mail = await send(message, `${idempotencyKey}${i}`);
          if (mail) checkMail(mail, meant);
        } catch (error) {
          throw new Error(`${where}, by ${name}: ${(error as Error).message}`, { cause: error });
        }
      }));
    }
  } finally {
    for (const server of servers) await server[Symbol.asyncDispose]();
  }
  assert(counts["typed errors"]! > CASES / 2 && counts["harmless"]! > CASES / 20, JSON.stringify(counts));
});
