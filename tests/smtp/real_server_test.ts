/**
 * A real server from Debian, Exim, receives a corpus: over plain text and STARTTLS, with AUTH; what it delivers
 * parses to the same messages. The long form of the tests: REAL_MAIL_SERVERS=1, as root, since it installs it.
 */
import { memoryStore } from "@holdfast/edge";
import { buildMime, type Message, outbox, prepareMessage } from "@holdfast/edge/mail";
import {
  cramMd5,
  denoConnector,
  smtpEnvelope,
  smtpMailer,
  type SmtpMailerOptions,
  verifySmtp,
} from "@holdfast/edge/smtp";
import { Buffer } from "node:buffer";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";
import { parseMime } from "../support/mail/parse.ts";
import { Random } from "../support/random.ts";
import { report } from "../support/report.ts";
import { type Exim, startExim } from "../support/smtp/exim_server.ts";
import { handMade, randomMessage } from "../mail/corpus.ts";

const ignore = Deno.env.get("REAL_MAIL_SERVERS") !== "1";
const account = { username: "account", password: "secret" };

function mailerOf(exim: Exim, options: Partial<SmtpMailerOptions> = {}) {
  return smtpMailer({
    connector: denoConnector({ caCerts: [exim.authority] }),
    host: "localhost",
    port: exim.port,
    security: "none",
    allowPlaintextAuth: true,
    ...options,
  });
}

/** Sixty messages for one address: those made by hand, and generated ones. */
function corpus(address: string): Message[] {
  const random = new Random(20261129);
  const generated = Array.from({ length: 60 }, () => randomMessage(random));
  return [...handMade, ...generated].slice(0, 60).map((message) => {
    const { tags: _tags, metadata: _metadata, sendAt: _sendAt, cc: _cc, bcc: _bcc, ...rest } = message;
    return { ...rest, to: address };
  });
}

/** The parts of a message that must arrive, whatever their order and the headers that a server adds. */
async function contentOf(raw: Uint8Array) {
  const { from, subject, text, html, attachments } = await parseMime(raw);
  const files = attachments.map(({ filename, bytes }) => [filename, Buffer.from(bytes).toString("base64")]);
  return JSON.stringify({ from, subject, text: text?.trimEnd(), html: html?.trimEnd(), files });
}

const ways: Record<string, Partial<SmtpMailerOptions>> = {
  "plain": { security: "none" },
  "plain, CRAM-MD5": { security: "none", auth: { ...account, mechanism: cramMd5 } },
  "starttls, PLAIN": { security: "starttls", auth: account },
  "starttls, LOGIN": { security: "starttls", auth: { ...account, mechanism: "LOGIN" } },
  "starttls, no PIPELINING": { security: "starttls", pipelining: false },
};

Deno.test({
  name: "Exim receives 60 messages in each way, and the delivered bytes parse to the same messages",
  ignore,
  async fn() {
    await using exim = await startExim();
    for (const [i, [way, options]] of Object.entries(ways).entries()) {
      await using mailer = mailerOf(exim, options);
      const address = `way${i}@example.net`;
      const messages = corpus(address);
      const built: string[] = [];
      for (const message of messages) {
        const receipt = await mailer.send(message);
        assert(receipt.id !== undefined, receipt.reply);
        built.push(await contentOf((await buildMime(prepareMessage(message))).bytes));
      }
      const delivered = await Promise.all((await exim.delivered(address, 60)).map(contentOf));
      const missing = built.filter((one) => !delivered.includes(one)).map((one) => one.slice(0, 200));
      assertEquals([delivered.length, missing], [60, []], `${way}\n${(await exim.log()).slice(-1000)}`);
      report(`Exim, ${way}: ${delivered.length} messages`);
    }
  },
});

Deno.test({
  name: "Exim: envelope, notifications, a raw message, a refused recipient and verifySmtp()",
  ignore,
  async fn() {
    await using exim = await startExim();
    await using mailer = mailerOf(exim, { envelope: smtpEnvelope });
    const message = { from: "shop@example.com", to: "jane@example.net", subject: "Hello", text: "Hello" };
    const dsn = { notify: ["failure"], return: "headers", envelopeId: "a+b=c" } as const;
    await mailer.send({ ...message, provider: { smtp: { verp: "bounces@example.com", dsn } } });
    const [first] = await exim.delivered("jane@example.net", 1);
    assert(new TextDecoder().decode(first).startsWith("Return-path: <bounces+jane=example.net@example.com>"));
    const raw = "From: shop@example.com\nTo: raw@example.net\nSubject: raw\n\n.one\nGrüße\n";
    const { subject: _, text: __, ...addresses } = { ...message, to: "raw@example.net" };
    await mailer.send({ ...addresses, provider: { smtp: { raw } } });
    const [second] = await exim.delivered("raw@example.net", 1);
    assert(new TextDecoder().decode(second).replaceAll("\r", "").endsWith("Subject: raw\n\n.one\nGrüße\n"));
    const receipt = await mailer.send({ ...message, cc: "unknown@example.net" });
    assertEquals(receipt.rejected?.map(({ address, status }) => [address, status]), [[
      "unknown@example.net",
      550,
    ]]);
    const options = {
      connector: denoConnector({ caCerts: [exim.authority] }),
      host: "localhost",
      port: exim.port,
    };
    await verifySmtp({ ...options, auth: account });
    await assertRejects(() => verifySmtp({ ...options, auth: { ...account, password: "wrong" } }));
  },
});

Deno.test({
  name: "Exim: a greylisted recipient gets the message later, by the outbox, and the others once",
  ignore,
  async fn() {
    await using exim = await startExim();
    await using mailer = mailerOf(exim);
    const box = outbox(mailer, memoryStore(), { delay: 10 });
    await box.send({
      from: "shop@example.com",
      to: ["grey@example.net", "jane@example.net"],
      subject: "Hello",
      text: "Hello",
    });
    const first = await box.drain();
    assertEquals([first.sent, first.deferred], [0, 1]);
    await exim.endGreylisting();
    for (let tries = 0; tries < 200; tries++) {
      const { nextAfter } = await box.drain();
      if (nextAfter === undefined) break;
      await new Promise((resolve) => setTimeout(resolve, Math.min(nextAfter + 1, 100)));
    }
    assertEquals((await exim.delivered("grey@example.net", 1)).length, 1);
    assertEquals((await exim.delivered("jane@example.net", 1)).length, 1);
  },
});
