/**
 * Providers and mail servers that answer with hostile replies: bounded time and memory, a typed error, and
 * the next send works.
 */
import { memoryStore } from "@holdfast/edge";
import { type Mailer, MailError, outbox, retrying } from "@holdfast/edge/mail";
import { mailgunMailer } from "@holdfast/edge/mailgun";
import { resendMailer } from "@holdfast/edge/resend";
import { sendgridMailer } from "@holdfast/edge/sendgrid";
import { sesMailer } from "@holdfast/edge/ses";
import { AwsClient } from "aws4fetch";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createGzip, gzipSync } from "node:zlib";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { report } from "../support/report.ts";
import { type Peer, polite } from "../support/smtp/scripted_server.ts";
import { failure, message, setup } from "../smtp/_setup.ts";

/** Bytes that one reply may add to the process, whatever it holds. */
const MEMORY = 64_000_000;

/**
 * Milliseconds that are far more than a bounded reply takes on a slow machine, and far less than an unbounded
 * one.
 */
const TIME = 20_000;

const mailers: Readonly<Record<string, (baseUrl: string) => Mailer>> = {
  resend: (baseUrl) => resendMailer({ apiKey: "re_1", baseUrl }),
  sendgrid: (baseUrl) => sendgridMailer({ apiKey: "SG.1", baseUrl }),
  ses: (baseUrl) => {
    const client = new AwsClient({ accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret" });
    return sesMailer({ region: "eu-central-1", client, baseUrl });
  },
  mailgun: (baseUrl) => mailgunMailer({ apiKey: "key", domain: "mg.example.com", baseUrl }),
};

/** A provider that gives this reply to the first request, and takes the others. */
async function startHostile(reply: (response: ServerResponse) => void) {
  let requests = 0;
  const http = createServer((request, response) => {
    request.resume();
    request.on("end", () => {
      if (++requests === 1) return reply(response);
      response.writeHead(request.url === "/v3/mail/send" ? 202 : 200, { "x-message-id": "1" });
      response.end(request.url === "/v3/mail/send" ? "" : '{"id":"1","MessageId":"1"}');
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

/**
 * The peak of this process's memory since the last call, beyond what it had then; `undefined` where it cannot
 * be read.
 */
function memoryMeter(): () => number | undefined {
  if (Deno.build.os !== "linux") return () => undefined;
  const read = (field: string) => {
    const status = Deno.readTextFileSync("/proc/self/status");
    return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)![1]) * 1024;
  };
  Deno.writeTextFileSync("/proc/self/clear_refs", "5");
  const before = read("VmRSS");
  return () => read("VmHWM") - before;
}

/** Writes for ever, as fast as the other side reads; counts what was written. */
function endless(written: { bytes: number }, status: number) {
  return (response: ServerResponse) => {
    response.writeHead(status, { "content-type": "application/json" });
    const chunk = new Uint8Array(64 * 1024).fill(32);
    const write = () => {
      while (!response.destroyed && response.write(chunk)) written.bytes += chunk.length;
    };
    response.on("drain", write);
    response.on("error", () => {});
    write();
  };
}

/** 400 MB of spaces in 400 KB. */
const bomb = await (async () => {
  const gzip = createGzip({ level: 9 });
  const chunks: Uint8Array[] = [];
  gzip.on("data", (chunk) => chunks.push(chunk));
  const spaces = new Uint8Array(4_000_000).fill(32);
  for (let i = 0; i < 100; i++) {
    if (!gzip.write(spaces)) await new Promise((resolve) => gzip.once("drain", resolve));
  }
  gzip.end();
  await new Promise((resolve) => gzip.once("end", resolve));
  return new Uint8Array(await new Blob(chunks as Uint8Array<ArrayBuffer>[]).arrayBuffer());
})();

const written = { bytes: 0 };
const gzipped = { "content-encoding": "gzip", "content-type": "application/json" };

/**
 * Each reply, and the error it must be: of a success nothing is known, a refusal is one by its status alone.
 */
const REPLIES: Readonly<Record<string, [status: number, reply: (response: ServerResponse) => void]>> = {
  "an endless reply, 200": [200, endless(written, 200)],
  "an endless reply, 429": [429, endless(written, 429)],
  "a gzip bomb, 200": [200, (response) => response.writeHead(200, gzipped).end(bomb)],
  "a gzip bomb, 400": [400, (response) => response.writeHead(400, gzipped).end(bomb)],
  "gzip that is none": [200, (response) => response.writeHead(200, gzipped).end("no gzip")],
  "gzip that ends too early": [
    200,
    (response) => response.writeHead(200, gzipped).end(gzipSync("x".repeat(1000)).subarray(0, 20)),
  ],
  "no JSON": [200, (response) => response.writeHead(200).end("<html>Please log in</html>")],
  "no UTF-8": [200, (response) => response.writeHead(200).end(new Uint8Array([0xff, 0xfe, 0x80]))],
  "JSON of another kind": [
    200,
    (response) => response.writeHead(200).end('{"id":{"toString":1},"MessageId":[]}'),
  ],
  "null": [200, (response) => response.writeHead(200).end("null")],
  "deep JSON": [200, (response) => response.writeHead(200).end("[".repeat(200_000))],
  "another success": [204, (response) => response.writeHead(204).end()],
  "a body that is cut": [
    429,
    (response) => {
      response.writeHead(429, { "content-length": "1000" });
      response.write("{");
      setTimeout(() => response.destroy(), 20);
    },
  ],
  "a redirect": [302, (response) => response.writeHead(302, { location: "https://example.com/" }).end()],
};

for (const [name, make] of Object.entries(mailers)) {
  for (const [what, [status, reply]] of Object.entries(REPLIES)) {
    Deno.test(`${name}: ${what}: a typed error, in bounded time and memory, and the next message is sent`, async () => {
      await using server = await startHostile(reply);
      const mailer = make(server.url);
      const began = performance.now();
      const grown = memoryMeter();
      const error = await assertRejects(() => mailer.send(message, { timeout: "1m" }), MailError);
      const [ms, bytes] = [performance.now() - began, grown()];
      const unknown = status < 300;
      assertEquals([error.status, error.delivery], [status, unknown ? "unknown" : "not-sent"]);
      assertEquals(error.retryable, status === 429);
      const code = {
        200: "backend-unavailable",
        204: "backend-unavailable",
        302: "misconfigured",
        400: "message-rejected",
        429: "rate-limited",
      };
      assertEquals(error.code, code[status as keyof typeof code]);
      assert(ms < TIME, `${ms} ms`);
      assert(bytes === undefined || bytes < MEMORY, `${bytes} bytes`);
      if (name === "resend") report(`${what}: ${Math.round(ms)} ms, ${((bytes ?? 0) / 1e6).toFixed(1)} MB`);
      await mailer.send(message);
    });
  }

  Deno.test(`${name}: a Retry-After of 31 years is a day at most, and parks no message for longer`, async () => {
    for (
      const headers of [{ "retry-after": "999999999" }, { "ratelimit-reset": "999999999" }, {
        "x-ratelimit-reset": "99999999999",
      }]
    ) {
      await using server = await startHostile((response) => response.writeHead(429, headers).end("{}"));
      const error = await assertRejects(() => make(server.url).send(message), MailError);
      assertEquals([error.code, error.retryAfter], ["rate-limited", 86_400_000]);
    }
    await using server = await startHostile((response) =>
      response.writeHead(429, { "retry-after": "999999999" }).end()
    );
    const clock = new ManualClock();
    const box = outbox(make(server.url), memoryStore({ clock }), { clock });
    await box.send(message);
    const { nextAfter } = await box.drain();
    assert(nextAfter! <= 2 * 86_400_000, `${nextAfter} ms`);
    await clock.advance(nextAfter!);
    assertEquals((await box.drain()).sent, 1);
  });
}

Deno.test("a custom mailer with a Retry-After of 31 years parks a message for a day at most", async () => {
  const clock = new ManualClock();
  let asked = 0;
  const rude: Mailer = {
    name: "rude",
    deduplicates: false,
    send() {
      if (asked++ > 0) return Promise.resolve({ mailer: "rude", id: undefined });
      const options = { delivery: "not-sent", phase: "reply", mailer: "rude", retryable: true } as const;
      return Promise.reject(new MailError("rate-limited", "no", { ...options, retryAfter: 1e12 }));
    },
  };
  const box = outbox(rude, memoryStore({ clock }), { clock });
  await box.send(message);
  const { nextAfter } = await box.drain();
  assert(nextAfter! <= 2 * 86_400_000, `${nextAfter} ms`);
  asked = 0;
  const error = await assertRejects(() => retrying(rude, { clock }).send(message), MailError);
  assertEquals([error.code, asked], ["rate-limited", 1]);
});

Deno.test("an endless reply is not read to the end: the sender stops after the bound", () => {
  // Both sides' buffers hold some of it; without a bound it would be as much as the time allows.
  assert(written.bytes < 200_000_000, `${written.bytes} bytes were written`);
});

Deno.test("SendGrid: 202 is sent, and a captive portal's 200 is not", async () => {
  await using server = await startHostile((response) =>
    response.writeHead(200).end("<html>Log in to the Wi-Fi</html>")
  );
  const mailer = mailers.sendgrid!(server.url);
  const error = await assertRejects(() => mailer.send(message), MailError);
  assertEquals([error.code, error.status, error.delivery, error.retryable], [
    "backend-unavailable",
    200,
    "unknown",
    false,
  ]);
  assertEquals((await mailer.send(message)).id, "1");
});

Deno.test("an abort without a reason is an abort everywhere, and says whether anything was sent", async () => {
  for (const [name, make] of Object.entries(mailers)) {
    const arrived = Promise.withResolvers<void>();
    await using server = await startHostile(() => arrived.resolve());
    const early = await assertRejects(
      () => make(server.url).send(message, { signal: abortedWithNull() }),
      MailError,
    );
    assertEquals([early.code, early.delivery], ["aborted", "not-sent"], name);
    const controller = new AbortController();
    const sending = make(server.url).send(message, { signal: controller.signal });
    arrived.promise.then(() => controller.abort(null));
    const late = await assertRejects(() => sending, MailError);
    assertEquals([late.code, late.delivery, late.retryable], ["aborted", "unknown", false], name);
  }
  await using here = setup(polite());
  const early = await failure(here.mailer.send(message, { signal: abortedWithNull() }));
  assertEquals([early.code, early.delivery], ["aborted", "not-sent"]);
  assert(early.cause instanceof Error);
});

function abortedWithNull(): AbortSignal {
  const controller = new AbortController();
  controller.abort(null);
  return controller.signal;
}

/** Hostile replies of a mail server, each at the greeting, at MAIL and after the message. */
const LINES: Readonly<Record<string, (peer: Peer) => Promise<void>>> = {
  "a reply of 4,096 lines": (peer) => peer.send("250-x\r\n".repeat(4095) + "250 x\r\n"),
  "an endless reply of lines": async (peer) => {
    const block = "250-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n".repeat(1000);
    for (;;) await peer.send(block);
  },
  "an endless line": async (peer) => {
    const block = "x".repeat(64 * 1024);
    await peer.send("250 ");
    for (;;) await peer.send(block);
  },
};

for (const [what, hostile] of Object.entries(LINES)) {
  for (const step of ["greeting", "MAIL", "dot"] as const) {
    Deno.test(`smtp: ${what} at ${step}: a typed error, in bounded time and memory`, async () => {
      let first = true;
      await using here = setup(polite({
        [step]: async (peer: Peer) => {
          if (!first) return true;
          first = false;
          await hostile(peer);
        },
      }));
      const began = performance.now();
      const grown = memoryMeter();
      const error = await failure(here.mailer.send(message));
      const [ms, bytes] = [performance.now() - began, grown()];
      assertEquals([error.code, error.delivery], [
        "backend-unavailable",
        step === "dot" ? "unknown" : "not-sent",
      ]);
      assert(ms < TIME, `${ms} ms`);
      assert(bytes === undefined || bytes < MEMORY, `${bytes} bytes`);
      report(`smtp, ${what} at ${step}: ${Math.round(ms)} ms, ${((bytes ?? 0) / 1e6).toFixed(1)} MB`);
      await here.mailer.send(message);
    });
  }
}

Deno.test("smtp: reading the text of a refusal takes time linear in its length, for any content", async () => {
  const texts = [
    "x".repeat(4000),
    "x@".repeat(2000),
    ".".repeat(4000),
    " ".repeat(4000),
    "jane".repeat(1000),
    "a+".repeat(2000),
  ];
  for (const text of texts) {
    const reply = (peer: Peer) => peer.send(`550-${text}\r\n`.repeat(100) + `550 ${text}\r\n`);
    await using here = setup(polite({ MAIL: reply }));
    const began = performance.now();
    const error = await failure(here.mailer.send(message));
    const ms = performance.now() - began;
    assertEquals([error.code, error.status], ["message-rejected", 550]);
    assert((error.cause as Error).message.length < 1000);
    assert(ms < TIME, `${ms} ms for ${text.slice(0, 4)}…`);
  }
});
