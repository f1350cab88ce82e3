/**
 * Every mailer in every runtime, Node 20 included: the same messages arrive, and the same faults are the same
 * errors.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { assertEquals } from "../support/assert.ts";
import { BREVO_KEY, startBrevo } from "../support/mail/brevo_server.ts";
import { MAILGUN_DOMAIN, MAILGUN_KEY, startMailgun } from "../support/mail/mailgun_server.ts";
import { POSTMARK_TOKEN, startPostmark } from "../support/mail/postmark_server.ts";
import { RESEND_KEY, startResend } from "../support/mail/resend_server.ts";
import { SENDGRID_KEY, startSendGrid } from "../support/mail/sendgrid_server.ts";
import { SES_CREDENTIALS, SES_REGION, startSes } from "../support/mail/ses_server.ts";
import { runIn, RUNTIMES } from "../support/runtimes.ts";
import { type Peer, polite, startScripted } from "../support/smtp/scripted_server.ts";
import { workerdTest } from "../support/workerd.ts";
import { HTTP_MAILERS } from "./_mailers.ts";
import type { Input } from "./_runtimes_scenario.ts";

const refused = (status: number, code: string, more: object = {}) => ({
  code,
  delivery: "not-sent",
  status,
  retryable: false,
  ...more,
});
const unknown = { code: "backend-unavailable", delivery: "unknown", status: 200, retryable: false };

/** The replies of the hostile server by path, and the errors they are. */
const HOSTILE: Readonly<Record<string, object>> = {
  "/bomb": unknown,
  "/endless": unknown,
  "/text": unknown,
  "/later": refused(429, "rate-limited", { retryable: true, retryAfter: 86_400_000 }),
  "/redirect": refused(302, "misconfigured"),
};

async function startHostile() {
  const bomb = gzipSync(new Uint8Array(30_000_000));
  const http = createServer((request, response) => {
    request.resume();
    request.on("end", () => {
      response.on("error", () => {});
      switch (request.url) {
        case "/bomb":
          return response.writeHead(200, { "content-encoding": "gzip" }).end(bomb);
        case "/endless": {
          response.writeHead(200);
          const write = () => {
            while (!response.destroyed && response.write("x".repeat(64 * 1024)));
          };
          response.on("drain", write);
          return write();
        }
        case "/text":
          return response.writeHead(200).end("<html>");
        case "/later":
          return response.writeHead(429, { "retry-after": "999999999" }).end();
        default:
          return response.writeHead(302, { location: "https://example.com/" }).end();
      }
    });
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

/** A mail server that refuses john's address for now, once a connection or message; who got what. */
function startGreylisting() {
  const delivered: string[] = [];
  let asked = 0;
  let open: string[] = [];
  const server = startScripted(polite({
    MAIL: () => Promise.resolve(true).finally(() => open = []),
    RCPT: async (peer: Peer, line: string) => {
      const address = /<(.*)>/.exec(line)![1]!;
      if (address === "john@example.com" && asked++ % 2 === 0) return await peer.say("451 4.7.1 greylisted");
      open.push(address);
      return true;
    },
    dot: () => Promise.resolve(true).finally(() => delivered.push(...open)),
  }, ["SIZE 1000000"]));
  return { server, delivered };
}

workerdTest("every mailer sends, streams, and bounds what it reads, in every runtime", async (t) => {
  await using resend = await startResend();
  await using sendgrid = await startSendGrid();
  await using ses = await startSes();
  await using mailgun = await startMailgun();
  await using postmark = await startPostmark();
  await using brevo = await startBrevo();
  await using hostile = await startHostile();
  for (const runtime of RUNTIMES) {
    await t.step(runtime, async () => {
      const { server, delivered } = startGreylisting();
      await using _smtp = server;
      const servers = [resend, sendgrid, ses, mailgun, postmark, brevo];
      servers.forEach((one) => one.reset());
      const input: Input = {
        urls: {
          resend: resend.url,
          sendgrid: sendgrid.url,
          ses: ses.url,
          mailgun: mailgun.url,
          postmark: postmark.url,
          brevo: brevo.url,
          hostile: hostile.url,
        },
        keys: {
          resend: RESEND_KEY,
          sendgrid: SENDGRID_KEY,
          mailgun: MAILGUN_KEY,
          postmark: POSTMARK_TOKEN,
          brevo: BREVO_KEY,
          domain: MAILGUN_DOMAIN,
          region: SES_REGION,
        },
        credentials: SES_CREDENTIALS,
        hostile: Object.keys(HOSTILE),
        smtpPort: server.port,
      };
      const answers = await runIn<Record<string, unknown>>(
        runtime,
        "tests/mail/_runtimes_scenario.ts",
        input,
      );
      for (const name of HTTP_MAILERS) {
        assertEquals(answers[name], ["string", "string"], `${runtime}: ${name}`);
      }
      assertEquals(answers["cloudflare, handed over"], ["Grüße 😀: no file", "Grüße 😀: the file"], runtime);
      assertEquals(
        answers["cloudflare, limited"],
        refused(429, "rate-limited", { retryable: true }),
        runtime,
      );
      for (const [path, error] of Object.entries(HOSTILE)) {
        assertEquals(answers[path], error, `${runtime}: ${path}`);
      }
      assertEquals(answers.bulk, 150);
      const files = servers.flatMap(({ accepted }) => accepted.flatMap(({ attachments }) => attachments));
      assertEquals(files.map(({ bytes }) => bytes.length), Array(8).fill(1_500_001), runtime);
      for (const { bytes } of files) assertEquals(bytes.every((byte, i) => byte === ((i * 31) & 255)), true);
      const both = ["jane@example.com", "john@example.com"];
      assertEquals(answers["smtp, retrying"], { accepted: both }, runtime);
      assertEquals([answers["smtp, outbox"], delivered], [1, [...both, ...both]], runtime);
      assertEquals(server.connections.every(({ heard }) => heard[0] === "EHLO client.example.com"), true);
    });
  }
});
