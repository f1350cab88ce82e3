/**
 * Secrets that a mailer was given are in none of its prints: not of itself, its receipts, its errors or their
 * causes.
 */
import { createIdempotency, createThrottle, memoryStore } from "@holdfast/edge";
import {
  failover,
  idempotent,
  type Mailer,
  memoryMailer,
  observed,
  outbox,
  rateLimited,
  retrying,
  sendBulk,
} from "@holdfast/edge/mail";
import { mailgunMailer } from "@holdfast/edge/mailgun";
import { resendMailer } from "@holdfast/edge/resend";
import { sendgridMailer } from "@holdfast/edge/sendgrid";
import { sesMailer } from "@holdfast/edge/ses";
import { denoConnector, smtpMailer } from "@holdfast/edge/smtp";
import { AwsClient } from "aws4fetch";
import { Resend } from "resend";
import { inspect } from "node:util";
import { assert } from "../support/assert.ts";
import { type Deviation, polite, startScripted } from "../support/smtp/scripted_server.ts";

const CANARY = "CANARY7f3a9";
const message = {
  from: `${CANARY}from@example.com`,
  to: `${CANARY}to@example.com`,
  subject: `${CANARY} subject`,
  text: `${CANARY} text`,
};
const keyed = { idempotencyKey: `${CANARY}-key` };

/** Everything that a print or a log may show of a value. */
function prints(value: unknown): string {
  const json = (() => {
    try {
      return JSON.stringify(value);
    } catch (error) {
      return String(error);
    }
  })();
  const deep = { depth: 20, showHidden: false, getters: true };
  return [inspect(value, deep), Deno.inspect(value, { depth: 20, getters: true }), String(value), json].join(
    "\n",
  );
}

function clean(value: unknown, what: string): void {
  const text = prints(value);
  const at = text.indexOf(CANARY);
  assert(at < 0, `${what} shows a secret: …${text.slice(Math.max(0, at - 100), at + 50)}…`);
}

/** A provider that refuses and repeats what it was sent. */
function echo(status: number): typeof fetch {
  return (url, init) => {
    const sent = `${url} ${JSON.stringify(init?.headers)} ${message.to} ${keyed.idempotencyKey} ${CANARY}`;
    const body = JSON.stringify({
      statusCode: status,
      name: `error_${CANARY}`,
      message: `${message.to} ${CANARY}@x ${sent.slice(0, 40)}`,
    });
    return Promise.resolve(new Response(body, { status }));
  };
}

function overHttp(fetch: typeof globalThis.fetch): Record<string, Mailer> {
  const client = new AwsClient({ accessKeyId: `${CANARY}ID`, secretAccessKey: `${CANARY}SECRET` });
  return {
    resend: resendMailer({ apiKey: `re_${CANARY}`, fetch }),
    sendgrid: sendgridMailer({ apiKey: `SG.${CANARY}`, fetch }),
    ses: sesMailer({ region: "eu-central-1", client, fetch }),
    mailgun: mailgunMailer({ apiKey: CANARY, domain: "mg.example.com", fetch }),
  };
}

const unreachable: typeof fetch = () => Promise.reject(new TypeError("fetch failed"));

Deno.test("no mailer prints its key, its password or its client", async () => {
  const all: Record<string, unknown> = {
    ...overHttp(unreachable),
    "resend, by its SDK": resendMailer(new Resend(`re_${CANARY}`)),
    smtp: smtpMailer({ connector: denoConnector(), host: "h", auth: { username: CANARY, password: CANARY } }),
  };
  const memory = memoryMailer();
  const wrapped = memoryMailer();
  all["memory, after a message"] = memory;
  await memory.send(message, keyed);
  const box = outbox(wrapped, memoryStore());
  all.outbox = box;
  await box.send(message, keyed);
  const throttle = createThrottle(memoryStore(), { name: "mail", limit: 9, window: "1s" });
  const inner = overHttp(unreachable).resend!;
  all.retrying = retrying(inner);
  all.failover = failover([inner, memory]);
  all.rateLimited = rateLimited(inner, throttle, { key: CANARY });
  all.idempotent = idempotent(inner, createIdempotency(memoryStore()));
  all.observed = observed(inner, { onOperation() {} });
  for (const [name, mailer] of Object.entries(all)) clean(mailer, name);
});

Deno.test("no error of a mailer over HTTP prints a key, an address, a text or an idempotency key", async () => {
  const fetches: Record<string, typeof fetch> = {
    unreachable,
    "refused": echo(422),
    "unauthorized": echo(401),
    "busy": echo(429),
    "broken": echo(500),
    "not understood": () => Promise.resolve(new Response(`${CANARY}`, { status: 207 })),
  };
  for (const [fault, fetch] of Object.entries(fetches)) {
    for (const [name, mailer] of Object.entries(overHttp(fetch))) {
      const error = await mailer.send(message, keyed).then(() => undefined, (error) => error);
      assert(error !== undefined, `${name}, ${fault}`);
      clean(error, `${name}, ${fault}`);
      for await (const result of sendBulk(mailer, [message, message])) {
        clean(result, `${name}, ${fault}, in a bulk`);
      }
    }
  }
});

Deno.test("no error of the SMTP mailer prints credentials or addresses, at any step and after any reply", async () => {
  const password = { username: `${CANARY}user`, password: `${CANARY}pass` };
  const token = { username: `${CANARY}user`, accessToken: `${CANARY}token` };
  const echoing = (code: number): Deviation => async (peer, line) => {
    await peer.say(`${code} 5.7.1 ${line} ${CANARY}to@example.com <${CANARY}from@example.com> ${CANARY}user`);
  };
  for (const auth of [password, token]) {
    for (const step of ["EHLO", "AUTH", "MAIL", "RCPT", "dot"] as const) {
      for (const code of [421, 451, 550]) {
        const extensions = ["PIPELINING", `AUTH PLAIN XOAUTH2`];
        await using server = startScripted(polite({ [step]: echoing(code) }, extensions));
        await using mailer = smtpMailer({
          connector: denoConnector(),
          host: "127.0.0.1",
          port: server.port,
          security: "none",
          allowPlaintextAuth: true,
          auth,
        });
        const error = await mailer.send(message, keyed).then(() => undefined, (error) => error);
        assert(error !== undefined, step);
        clean(error, `smtp at ${step}, ${code}`);
        clean(mailer, "the mailer");
      }
    }
  }
});

Deno.test("a TypeError of a bad message or option repeats none of its values", async () => {
  const bad: object[] = [
    { ...message, to: `${CANARY} no address` },
    { ...message, subject: `${CANARY}\r\nBcc: x` },
    { ...message, headers: { "X-A": `${CANARY}\n` } },
    { ...message, headers: { References: `${CANARY}ü` } },
    { ...message, attachments: [{ filename: `${CANARY}/`, content: "x" }] },
    { ...message, tags: [`${CANARY}\0`] },
  ];
  for (const one of bad) {
    clean(await memoryMailer().send(one as typeof message).catch((error) => error), "a bad message");
  }
  const options = { idempotencyKey: `${CANARY} with a space` };
  clean(await memoryMailer().send(message, options).catch((error) => error), "a bad key");
  clean(
    await memoryMailer().send(message, { recipients: [`${CANARY}@x`] }).catch((error) => error),
    "a recipient",
  );
});
