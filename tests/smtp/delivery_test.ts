/** Connections that are shared, die and are given up; and that nothing is ever sent twice. */
import { sendBulk } from "@holdfast/edge/mail";
import { type SmtpConnector, smtpMailer } from "../../adapters/smtp/mod.ts";
import { sha256 } from "../../src/secret.ts";
import type { MailError } from "../../src/mail/mail_error.ts";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";
import { eventually } from "../support/eventually.ts";
import { type Peer, polite } from "../support/smtp/scripted_server.ts";
import type { AcceptedFile } from "../support/mail/http_server.ts";
import { smtpTo, startSmtp } from "../support/mail/smtp_server.ts";
import { failure, message, setup } from "./_setup.ts";

/** The number of messages the server took: each ends with a dot that was answered with 250. */
function dots(heard: string[]): number {
  return heard.filter((line) => line === ".").length;
}

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/**
 * The error of an attempt in the phase that was wanted. What must have happened before it takes longer on a busy machine:
 * an attempt that ended in an earlier phase is made again with ten times the milliseconds, twice at most.
 */
async function inPhase(
  phase: string,
  milliseconds: number,
  attempt: (milliseconds: number) => Promise<MailError>,
): Promise<MailError> {
  for (let given = milliseconds;; given *= 10) {
    const error = await attempt(given);
    if (error.phase === phase || given === 100 * milliseconds) return error;
  }
}

Deno.test("messages share a connection, one after the other", async () => {
  await using here = setup(polite());
  for (let i = 0; i < 5; i++) await here.mailer.send(message);
  assertEquals(here.server.connections.length, 1);
  assertEquals(here.said()[0]!.filter((verb) => verb === "EHLO").length, 1);
});

Deno.test("twenty at once use no more connections than allowed", async () => {
  let open = 0;
  let most = 0;
  await using here = setup(async (peer) => {
    most = Math.max(most, ++open);
    await polite({ dot: () => pause(5).then(() => true) })(peer);
    open--;
  }, { maxConnections: 3 });
  await Promise.all(Array.from({ length: 20 }, () => here.mailer.send(message)));
  assertEquals([here.server.connections.length, most], [3, 3]);
});

Deno.test("a connection is left after maxMessages, with a good-bye", async () => {
  await using here = setup(polite(), { maxMessages: 2 });
  for (let i = 0; i < 5; i++) await here.mailer.send(message);
  await here.mailer.close();
  assertEquals(here.server.connections.map(({ heard }) => [dots(heard), heard.at(-1)]), [
    [2, "QUIT"],
    [2, "QUIT"],
    [1, "QUIT"],
  ]);
});

Deno.test("an unused connection is left after idleTimeout", async () => {
  await using here = setup(polite(), { idleTimeout: 30 });
  await here.mailer.send(message);
  await eventually(() => here.said()[0]!.at(-1) === "QUIT");
  await here.mailer.send(message);
  assertEquals(here.server.connections.length, 2);
});

Deno.test("after close(), a message still goes out, and its connection is left at once", async () => {
  await using here = setup(polite());
  await here.mailer.send(message);
  await here.mailer.close();
  await here.mailer.send(message);
  await eventually(() => here.said()[1]?.at(-1) === "QUIT");
  assertEquals(here.server.connections.length, 2);
});

Deno.test("close() waits for messages under way", async () => {
  await using here = setup(polite({ dot: () => pause(30).then(() => true) }));
  const sending = here.mailer.send(message);
  await pause(5);
  await here.mailer.close();
  assertEquals(here.said()[0]!.at(-1), "QUIT");
  assertEquals((await sending).id, "N0");
});

Deno.test("close() may be called twice, also at once", async () => {
  await using here = setup(polite({ dot: () => pause(20).then(() => true) }), { maxConnections: 2 });
  const sending = Promise.all([
    here.mailer.send(message),
    here.mailer.send(message),
    here.mailer.send(message),
  ]);
  await pause(5);
  await Promise.all([here.mailer.close(), here.mailer.close()]);
  await here.mailer.close();
  assertEquals((await sending).length, 3);
  assert(here.said().every((verbs) => verbs.at(-1) === "QUIT"));
});

Deno.test("a server that closes an idle connection costs no message", async () => {
  for (const farewell of ["", "421 4.4.2 idle too long\r\n"]) {
    const left = Promise.withResolvers<void>();
    await using here = setup(polite({
      async dot(peer) {
        await peer.say("250 ok");
        await pause(10);
        await peer.send(farewell);
        if (farewell === "") peer.close(); // with a farewell it is for the client to leave
        left.resolve();
      },
    }));
    await here.mailer.send(message);
    await left.promise;
    await pause(1500); // a busy client learns it later
    await here.mailer.send(message);
    assertEquals(here.server.connections.length, 2);
    assertEquals(here.server.connections[0]!.heard.filter((line) => line.startsWith("MAIL")).length, 1);
  }
});

/** Answers `usual` to the first message of the first connection, and does something else at its second. */
function secondTime(peer: Peer, otherwise: () => Promise<void>): Promise<true | void> {
  const mails = peer.heard.filter((line) => line.startsWith("MAIL")).length;
  return peer.number === 0 && mails > 1 ? otherwise() : Promise.resolve(true);
}

Deno.test("a shared connection that dies before it answers to MAIL is replaced, once, and nothing is sent twice", async () => {
  for (const farewell of ["", "421 4.3.2 restarting\r\n"]) {
    await using here = setup(polite({
      MAIL: (peer) =>
        secondTime(peer, async () => {
          await peer.send(farewell);
          peer.close();
        }),
    }));
    await here.mailer.send(message);
    await here.mailer.send(message);
    assertEquals(here.server.connections.length, 2);
    assertEquals(here.server.connections.map(({ heard }) => dots(heard)), [1, 1]);
  }
});

Deno.test("a new connection that dies is not tried again", async () => {
  await using here = setup(polite({ MAIL: (peer) => Promise.resolve(peer.close()) }));
  assertEquals((await failure(here.mailer.send(message))).delivery, "not-sent");
  assertEquals(here.server.connections.length, 1);
});

Deno.test("a shared connection that dies after it answered to MAIL is not tried again", async () => {
  await using here = setup(
    polite({ RCPT: (peer) => secondTime(peer, () => Promise.resolve(peer.close())) }, []),
  );
  await here.mailer.send(message);
  const error = await failure(here.mailer.send(message));
  assertEquals([error.phase, error.delivery, error.retryable], ["rcpt", "not-sent", true]);
  assertEquals(here.server.connections.length, 1);
});

Deno.test("a reply that is lost after the last dot: unknown, and sent once", async () => {
  await using here = setup(polite({ dot: (peer) => secondTime(peer, () => Promise.resolve(peer.close())) }));
  await here.mailer.send(message);
  const error = await failure(here.mailer.send(message));
  assertEquals(
    [error.code, error.phase, error.delivery, error.retryable, error.ambiguous],
    ["backend-unavailable", "reply", "unknown", false, true],
  );
  assertEquals(here.server.connections.map(({ heard }) => dots(heard)), [2]);
});

Deno.test("a server that sends more replies than commands loses the connection, and no reply is misread", async () => {
  await using here = setup(polite({ dot: (peer) => peer.say("250 ok", "250 and again") }));
  await here.mailer.send(message);
  await here.mailer.send(message);
  assertEquals(here.server.connections.length, 2);
  await using early = setup(polite({ DATA: (peer) => peer.say("354 go", "250 Ok: queued as LIE") }));
  const error = await failure(early.mailer.send(message));
  assertEquals([error.phase, error.delivery], ["body", "not-sent"]);
  assertEquals(dots(early.server.connections[0]!.heard), 0);
});

Deno.test("an unsolicited reply ends the connection before it is taken for another command's", async () => {
  await using here = setup(polite({ MAIL: (peer) => peer.say("250 ok", "250 ok") }, []));
  const error = await failure(here.mailer.send(message));
  assertEquals([error.code, error.delivery], ["backend-unavailable", "not-sent"]);
  assertEquals(here.said(), [["EHLO", "MAIL"]]);
});

Deno.test("a socket that comes too late is closed", async () => {
  let closed = false;
  const connector: SmtpConnector = {
    perRequest: false,
    async connect() {
      await pause(40);
      return {
        readable: new ReadableStream(),
        writable: new WritableStream(),
        startTls: () => Promise.reject(new Error("closed")),
        close: () => void (closed = true),
      };
    },
  };
  await using mailer = smtpMailer({ connector, host: "localhost", timeouts: { connect: 10 } });
  const error = await failure(mailer.send(message));
  assertEquals([error.code, error.phase, error.delivery], ["timeout", "connect", "not-sent"]);
  await eventually(() => closed);
});

Deno.test("abort: in time it is not sent, behind the last dot it is unknown", async () => {
  const phases = {
    greeting: "greeting",
    EHLO: "hello",
    MAIL: "mail",
    RCPT: "rcpt",
    DATA: "data",
    dot: "reply",
  };
  for (const [step, phase] of Object.entries(phases)) {
    const error = await inPhase(phase, 20, async (arrives) => {
      const abort = new AbortController();
      const hang = async (peer: Peer) => {
        await pause(arrives); // what was answered before has arrived
        abort.abort(new Error("enough"));
        while (await peer.line() !== undefined);
      };
      await using here = setup(polite({ [step]: hang }));
      return await failure(here.mailer.send(message, { signal: abort.signal }));
    });
    assertEquals(
      [error.code, error.phase, error.delivery, error.retryable],
      ["aborted", phase, step === "dot" ? "unknown" : "not-sent", false],
    );
    assertEquals((error.cause as Error).message, "enough");
  }
  await using here = setup(polite());
  const before = await failure(here.mailer.send(message, { signal: AbortSignal.abort() }));
  assertEquals([before.code, before.delivery, here.server.connections.length], ["aborted", "not-sent", 0]);
});

Deno.test("abort: a message that waits for a connection leaves the queue, and the next one gets it", async () => {
  let go = () => {};
  const gate = new Promise<void>((resolve) => go = resolve);
  await using here = setup(polite({ dot: () => gate.then(() => true) }), { maxConnections: 1 });
  const first = here.mailer.send(message);
  const abort = new AbortController();
  const second = failure(here.mailer.send(message, { signal: abort.signal }));
  const third = here.mailer.send(message);
  await pause(10);
  abort.abort();
  const error = await second;
  assertEquals([error.code, error.delivery], ["aborted", "not-sent"]);
  go();
  await Promise.all([first, third]);
  assertEquals(here.server.connections.map(({ heard }) => dots(heard)), [2]);
});

Deno.test("timeouts: each step has its own, and the whole has one", async () => {
  const hang = async (peer: Peer) => {
    while (await peer.line() !== undefined);
  };
  const cases = [
    [{ greeting: hang }, (greeting: number) => ({ timeouts: { greeting } }), "greeting", "not-sent"],
    [{ MAIL: hang }, (command: number) => ({ timeouts: { command } }), "mail", "not-sent"],
    [{ dot: hang }, (data: number) => ({ timeouts: { data } }), "reply", "unknown"],
    [{ MAIL: hang }, (timeout: number) => ({ timeout }), "mail", "not-sent"],
    [{ dot: hang }, (timeout: number) => ({ timeout }), "reply", "unknown"],
  ] as const;
  for (const [deviation, options, phase, delivery] of cases) {
    const error = await inPhase(phase, 30, async (milliseconds) => {
      await using here = setup(polite(deviation), options(milliseconds));
      return await failure(here.mailer.send(message));
    });
    assertEquals([error.code, error.phase, error.delivery], ["timeout", phase, delivery]);
    assertEquals(error.retryable, delivery === "not-sent");
  }
  // A server that never falls silent does not get more time than the whole has.
  await using drip = setup(async (peer) => {
    for (;;) {
      await peer.send("220-still here\r\n");
      await pause(10);
    }
  }, { timeout: 100 });
  assertEquals((await failure(drip.mailer.send(message))).code, "timeout");
});

Deno.test("a message under way is refused early: not sent, however much of it was left", async () => {
  const body = async (peer: Peer) => {
    await peer.say("552 5.3.4 that is too much");
    await pause(2000); // a client that is busy reads it before the connection breaks
    peer.close();
  };
  await using here = setup(polite({ body }, []));
  const content = new Uint8Array(10 * 1024 * 1024);
  const error = await failure(here.mailer.send({ ...message, attachments: [{ filename: "a", content }] }));
  assertEquals(
    [error.code, error.phase, error.delivery, error.status],
    ["message-too-large", "body", "not-sent", 552],
  );
});

Deno.test("a server that stops reading: not sent, when the last dot was never reached", async () => {
  const content = new Uint8Array(10 * 1024 * 1024);
  const error = await inPhase("body", 100, async (data) => {
    await using here = setup(polite({ body: () => pause(4 * data).then(() => {}) }, []), {
      timeouts: { data },
    });
    return await failure(here.mailer.send({ ...message, attachments: [{ filename: "a", content }] }));
  });
  assertEquals([error.code, error.phase, error.delivery], ["timeout", "body", "not-sent"]);
});

Deno.test("30 MB from a stream arrive to the byte", async () => {
  await using server = await startSmtp();
  const bytes = Uint8Array.from({ length: 30_000_000 }, (_, i) => i * 31 ^ i >> 8);
  const content = () => new Blob([bytes]).stream();
  await smtpTo(server.url).send({ ...message, attachments: [{ filename: "a", content }] });
  const [{ bytes: taken }] = server.accepted[0]!.attachments as [AcceptedFile];
  assertEquals(await sha256(new Uint8Array(taken)), await sha256(bytes));
});

Deno.test("an attachment that cannot be read: nothing is sent to the server", async () => {
  await using here = setup(polite());
  const content = () => Promise.reject(new Error("gone"));
  const error = await failure(here.mailer.send({ ...message, attachments: [{ filename: "a", content }] }));
  assertEquals([error.code, error.phase, error.delivery], ["attachment-unreadable", "prepare", "not-sent"]);
  assertEquals(here.server.connections.length, 0);
});

Deno.test("sendBulk: a thousand messages, a tenth refused: a thousand results in order, over few connections", async () => {
  const RCPT = (peer: Peer, line: string) => peer.say(/0@/.test(line) ? "550 5.1.1 unknown" : "250 ok");
  await using here = setup(polite({ RCPT }), { maxMessages: 1000 });
  const messages = Array.from({ length: 1000 }, (_, i) => ({ ...message, to: `user${i}@example.com` }));
  let next = 0;
  let sent = 0;
  for await (const result of sendBulk(here.mailer, messages)) {
    assertEquals(result.index, next);
    assertEquals(result.state, next++ % 10 === 0 ? "failed" : "sent");
    if (result.state === "sent") sent++;
  }
  assertEquals([next, sent, here.server.connections.length], [1000, 900, 5]);
});

Deno.test("sendBulk: an abort ends it, and no connection is left busy", async () => {
  await using here = setup(polite({ dot: () => pause(10).then(() => true) }));
  const abort = new AbortController();
  const results: string[] = [];
  await assertRejects(async () => {
    for await (const { state } of sendBulk(here.mailer, Array(100).fill(message), { signal: abort.signal })) {
      results.push(state);
      if (results.length === 10) abort.abort();
    }
  });
  assert(results.length >= 10 && results.length < 25, String(results.length));
});
