/** The output of the MIME builder, read by an independent parser, on every transport that carries MIME. */
import { Buffer } from "node:buffer";
import {
  buildMime,
  type Mailer,
  memoryMailer,
  type Message,
  type PreparedMessage,
  prepareMessage,
} from "@holdfast/edge/mail";
import { mailgunMailer } from "@holdfast/edge/mailgun";
import { sesMailer } from "@holdfast/edge/ses";
import { AwsClient } from "aws4fetch";
import { recipientsOf } from "../../src/mail/message.ts";
import MailComposer from "nodemailer/lib/mail-composer";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";
import type { AcceptedMail, MailServer } from "../support/mail/http_server.ts";
import { MAILGUN_DOMAIN, MAILGUN_KEY, startMailgun } from "../support/mail/mailgun_server.ts";
import { calendarOf, checkMime, parseMime } from "../support/mail/parse.ts";
import { SES_CREDENTIALS, SES_REGION, startSes } from "../support/mail/ses_server.ts";
import { smtpTo, startSmtp } from "../support/mail/smtp_server.ts";
import { Random } from "../support/random.ts";
import { handMade, randomMessage } from "./corpus.ts";

const SEED = Number(Deno.env.get("SEED") ?? 20261124);
const COUNT = Number(Deno.env.get("MIME_COUNT") ?? 200);

function* corpus(): Generator<[name: string, message: Message]> {
  for (const [i, message] of handMade.entries()) {
    yield [`hand-made ${i} (${message.subject?.slice(0, 30)})`, message];
  }
  const random = new Random(SEED);
  for (let i = 0; i < COUNT; i++) yield [`seed ${SEED}, message ${i}`, randomMessage(random)];
}

/** The content of a message as far as MIME carries it; line breaks at the end of a body do not count. */
async function expected(message: PreparedMessage) {
  const lines = (text: string | undefined) => text?.replace(/\r\n?/g, "\n").replace(/\n+$/, "");
  const people = (list: PreparedMessage["to"]) =>
    list.map(({ name = "", address }) => ({ name: name.trim(), address: unquoted(address) }));
  const files = await Promise.all(message.attachments.map(async (file) => ({
    filename: file.filename,
    contentType: file.contentType.split(";")[0]!,
    contentId: file.contentId,
    bytes: new Uint8Array(await file.content()),
  })));
  return {
    from: people([message.from])[0]!,
    to: people(message.to),
    cc: people(message.cc),
    replyTo: people(message.replyTo),
    subject: message.subject,
    text: lines(message.text),
    html: lines(message.html),
    headers: Object.fromEntries(
      Object.entries(message.headers).map(([name, value]) => [name.toLowerCase(), value]),
    ),
    attachments: files.sort(byName),
  };
}

/** postal-mime takes the quotes off a local part. */
function unquoted(address: string): string {
  return address.replace(/^"(.*)"@/, "$1@");
}

function found(
  mail: Omit<AcceptedMail, "id" | "bcc" | "tags" | "metadata" | "sendAt">,
  own: PreparedMessage,
) {
  const names = Object.keys(own.headers).map((name) => name.toLowerCase());
  return {
    from: mail.from,
    to: mail.to,
    cc: mail.cc,
    replyTo: mail.replyTo,
    subject: mail.subject,
    text: own.text === undefined ? undefined : mail.text?.replace(/\n+$/, ""),
    html: own.html === undefined ? undefined : mail.html?.replace(/\n+$/, ""),
    headers: Object.fromEntries(names.map((name) => [name, mail.headers[name]])),
    attachments: [...mail.attachments].sort(byName),
  };
}

function byName(
  a: { filename: string; bytes: Uint8Array },
  b: { filename: string; bytes: Uint8Array },
): number {
  return a.filename < b.filename ? -1 : a.filename > b.filename ? 1 : Buffer.compare(a.bytes, b.bytes);
}

Deno.test("MIME: a corpus parses back to the same messages; only CRLF, no long line, 7-bit, no bcc", async () => {
  let count = 0;
  for (const [name, message] of corpus()) {
    const own = prepareMessage(message);
    const { bytes, envelope } = await buildMime(own);
    try {
      checkMime(bytes);
      assertEquals(found(await parseMime(bytes), own), await expected(own));
      const text = Buffer.from(bytes).toString("latin1");
      for (const { address } of own.bcc) assert(!text.includes(address), "bcc is in the message");
      assertEquals(envelope.to, [...own.to, ...own.cc, ...own.bcc].map(({ address }) => address));
      const calendar = await calendarOf(bytes);
      assertEquals(calendar?.method, own.calendar?.method);
      assertEquals(
        calendar?.content.trim().replaceAll("\r\n", "\n"),
        own.calendar?.content.replaceAll("\r\n", "\n"),
      );
    } catch (error) {
      throw new Error(`${name}: ${(error as Error).message}`, { cause: error });
    }
    count++;
  }
  assert(count >= 200, `only ${count} messages`);
});

const ways: Record<
  string,
  {
    start?: () => Promise<MailServer>;
    mailer: (url: string) => Mailer;
    most: number;
    /** Permitted forms that the server of the test cannot read. */
    cannot?: RegExp;
  }
> = {
  "memory": { mailer: () => memoryMailer({ maxMessages: 1 }), most: 1000 },
  "ses, raw": {
    start: startSes,
    mailer: (baseUrl) =>
      sesMailer({ region: SES_REGION, client: new AwsClient(SES_CREDENTIALS), baseUrl, mime: buildMime }),
    most: 50,
  },
  "mailgun, MIME": {
    start: startMailgun,
    mailer: (baseUrl) =>
      mailgunMailer({ apiKey: MAILGUN_KEY, domain: MAILGUN_DOMAIN, baseUrl, mime: buildMime }),
    most: 1000,
  },
  "smtp": { start: startSmtp, mailer: smtpTo, most: 1000, cannot: /^".*\s.*"@/ },
};

for (const [way, { start, mailer: make, most, cannot }] of Object.entries(ways)) {
  Deno.test(`MIME by ${way}: the corpus arrives as the same messages, at every recipient`, async () => {
    const server = await start?.();
    try {
      const mailer = make(server?.url ?? "");
      let count = 0;
      for (const [name, message] of corpus()) {
        const own = prepareMessage(message);
        if (own.to.length + own.cc.length + own.bcc.length > most) continue;
        if (recipientsOf(own).some(({ address }) => cannot?.test(address))) continue;
        await mailer.send(own);
        const raw = server?.accepted.at(-1) ??
          await parseMime((mailer as ReturnType<typeof memoryMailer>).outbox[0]!.mime.bytes);
        const { to, cc, ...rest } = await expected(own);
        const { to: _to, cc: _cc, ...got } = found(raw as AcceptedMail, own);
        try {
          assertEquals(got, rest);
          const addresses = (list: readonly { address: string }[]) => list.map(({ address }) => address);
          assertEquals(addresses([...raw.to, ...raw.cc]), addresses([...to, ...cc]));
          if (server) assertEquals(addresses((raw as AcceptedMail).bcc), addresses(own.bcc).map(unquoted));
        } catch (error) {
          throw new Error(`${name}: ${(error as Error).message}`, { cause: error });
        }
        count++;
      }
      assert(count >= 200, `only ${count} messages`);
    } finally {
      await server?.[Symbol.asyncDispose]();
    }
  });
}

Deno.test("MIME: nodemailer's builder makes the same messages, where it supports them", async () => {
  let same = 0;
  for (const [name, message] of corpus()) {
    const own = prepareMessage(message);
    if (own.calendar) continue;
    const files = await Promise.all(own.attachments.map(async (file) => ({
      filename: file.filename,
      contentType: file.contentType,
      cid: file.contentId,
      contentDisposition: file.contentId ? "inline" as const : "attachment" as const,
      content: Buffer.from(await file.content()),
    })));
    const person = ({ name = "", address }: { name?: string | undefined; address: string }) => ({
      name,
      address,
    });
    const composed = new MailComposer({
      from: person(own.from),
      to: own.to.map(person),
      cc: own.cc.map(person),
      bcc: own.bcc.map(person),
      replyTo: own.replyTo.map(person),
      subject: own.subject,
      ...(own.text !== undefined && { text: own.text }),
      ...(own.html !== undefined && { html: own.html }),
      attachments: files,
    });
    const theirs = await parseMime(new Uint8Array(await composed.compile().build()));
    const ours = await parseMime((await buildMime(own)).bytes);
    const pick = (mail: typeof ours) => {
      const { headers: _, ...rest } = found(mail, { ...own, headers: {} });
      return { ...rest, attachments: rest.attachments.map(({ filename, bytes }) => [filename, bytes]) };
    };
    try {
      assertEquals(pick(ours), pick(theirs));
      same++;
    } catch (error) {
      if (Deno.env.get("SHOW")) throw new Error(`${name}: ${(error as Error).message}`);
    }
  }
  assert(same >= 200, `only ${same} messages`);
});

Deno.test("MIME: the same message, key, date and boundary give the same bytes, to the last", async () => {
  const message: Message = {
    from: "Shop <shop@example.com>",
    to: '"Doe, Jane" <jane@example.com>',
    bcc: "secret@example.com",
    subject: "Grüße",
    text: "Hallo",
    html: '<img src="cid:logo">',
    attachments: [
      {
        filename: "logo.png",
        content: new Uint8Array([1, 2, 3]),
        contentType: "image/png",
        contentId: "logo",
      },
      { filename: "ü.txt", content: "ü", contentType: "text/plain; charset=utf-8" },
    ],
  };
  const { bytes } = await buildMime(message, {
    idempotencyKey: "order-17",
    date: new Date(0),
    boundary: "b",
  });
  assertEquals(new TextDecoder().decode(bytes).split("\r\n"), [
    "Date: Thu, 01 Jan 1970 00:00:00 +0000",
    "Message-ID: <cqkOo9qLXdAb3i8nMU4C4hf5NRgupXOn_5tfUGDvmWs@example.com>",
    "From: Shop <shop@example.com>",
    'To: "Doe, Jane" <jane@example.com>',
    "Subject: =?UTF-8?B?R3LDvMOfZQ==?=",
    "MIME-Version: 1.0",
    'Content-Type: multipart/mixed; boundary="=_b_mixed"',
    "",
    "--=_b_mixed",
    'Content-Type: multipart/alternative; boundary="=_b_alternative"',
    "",
    "--=_b_alternative",
    "Content-Type: text/plain; charset=utf-8",
    "Content-Transfer-Encoding: 7bit",
    "",
    "Hallo",
    "--=_b_alternative",
    'Content-Type: multipart/related; boundary="=_b_related"',
    "",
    "--=_b_related",
    "Content-Type: text/html; charset=utf-8",
    "Content-Transfer-Encoding: 7bit",
    "",
    '<img src="cid:logo">',
    "--=_b_related",
    "Content-Type: image/png",
    'Content-Disposition: inline; filename="logo.png"',
    "Content-ID: <logo>",
    "Content-Transfer-Encoding: base64",
    "",
    "AQID",
    "--=_b_related--",
    "--=_b_alternative--",
    "--=_b_mixed",
    'Content-Type: text/plain; charset=utf-8; name="=?UTF-8?B?w7wudHh0?="',
    "Content-Disposition: attachment; filename*0*=utf-8''%C3%BC.txt",
    "Content-Transfer-Encoding: base64",
    "",
    "w7w=",
    "--=_b_mixed--",
    "",
  ]);
});

Deno.test("list-unsubscribe: one click needs a URL, and a mailbox is a URL whatever its address holds", () => {
  const { headers } = prepareMessage({
    from: "shop@example.com",
    to: "jane@example.com",
    subject: "x",
    text: "x",
    unsubscribe: { mailto: "leave+now@example.com" },
  });
  assertEquals(headers, { "List-Unsubscribe": "<mailto:leave+now@example.com>" });
  for (const local of ['"a>, <b"', '"a, b"', "a?cc=b&c", "a/b#c", "50%40", "jörg", '"x\\"y"']) {
    const address = `${local}@example.com`;
    const { headers } = prepareMessage({
      from: "shop@example.com",
      to: "jane@example.com",
      subject: "x",
      text: "x",
      unsubscribe: { mailto: address, url: "https://example.com/leave" },
    });
    const [, mailto] = /^<https:\/\/example\.com\/leave>, <(mailto:[!-~]+)>$/.exec(
      headers["List-Unsubscribe"]!,
    )!;
    const { pathname, search, hash } = new URL(mailto!);
    assertEquals([decodeURIComponent(pathname), search, hash], [address, "", ""]);
    assert(!/[<>,]/.test(mailto!), mailto);
    assertEquals(headers["List-Unsubscribe-Post"], "List-Unsubscribe=One-Click");
  }
});

Deno.test("a boundary of the caller's is one that a header can hold, within the 70 characters of RFC 2046", async () => {
  const html = { from: "a@example.com", to: "b@example.com", subject: "Hello", text: "Hello", html: "Hello" };
  const { bytes } = await buildMime(html, { boundary: "a".repeat(56) });
  const [, own] = /boundary="([^"]+)"/.exec(new TextDecoder().decode(bytes)) ?? [];
  assertEquals(own?.length, 70);
  for (const boundary of ["", "a".repeat(57), 'a"\r\nBcc: c@example.com\r\nX: "', "a b", "ü"]) {
    const { message } = await assertRejects(() => buildMime(html, { boundary }), TypeError);
    assert(message.includes("'boundary'"), message);
  }
});
