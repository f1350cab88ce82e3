/** The commands sent to a server, and the reading of its replies. */
import { dataPieces } from "../../adapters/smtp/_data.ts";
import {
  cloudflareConnector,
  denoConnector,
  nodeConnector,
  type SmtpConnector,
  smtpMailer,
} from "../../adapters/smtp/mod.ts";
import { buildMime } from "../../src/mail/mime.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";
import { Random } from "../support/random.ts";
import { type Peer, polite } from "../support/smtp/scripted_server.ts";
import { failure, message, setup } from "./_setup.ts";

const connector = denoConnector();

Deno.test("dots are stuffed, the last one ends the message, and no byte changes, wherever pieces begin", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const random = new Random(seed);
    let text = "";
    const size = random.below(3) === 0 ? 65_530 + random.below(12) : random.below(300);
    while (text.length < size) text += random.pick([".", "..", "a", "\r\n", "\r\n.", "\r\n..", "a.b"]);
    text += random.pick(["\r\n", "\r\n.\r\n", "\r\n..\r\n"]);
    const bytes = new TextEncoder().encode(text);
    const cut = random.below(bytes.length);
    const pieces = [...dataPieces([bytes.subarray(0, cut), bytes.subarray(cut)])];
    const wire = pieces.map(({ bytes }) => new TextDecoder().decode(bytes)).join("");
    assert(wire.endsWith("\r\n.\r\n"), `seed ${seed}`);
    const lines = wire.slice(0, -3).split("\r\n");
    assert(!lines.includes("."), `seed ${seed}`);
    assertEquals(lines.map((line) => line.replace(/^\./, "")).join("\r\n"), text, `seed ${seed}`);
    assertEquals(pieces.map(({ last }) => last).lastIndexOf(false), pieces.length - 2, `seed ${seed}`);
  }
});

Deno.test("replies that come byte by byte are read as if they had come at once", async () => {
  const slowly = (peer: Peer): Peer => ({
    ...peer,
    send: peer.send,
    async say(...lines) {
      for (const character of lines.map((line) => line + "\r\n").join("")) {
        await peer.send(character);
        await new Promise((resolve) => setTimeout(resolve));
      }
    },
  });
  await using here = setup((peer) => polite()(slowly(peer)));
  const { id } = await here.mailer.send(message);
  assertEquals(id, "N0");
});

Deno.test("with PIPELINING the envelope goes out in one piece, without it each command waits for its reply", async () => {
  const early: number[] = [];
  const waiting = (extensions: string[]) => (peer: Peer) =>
    polite({
      async MAIL(peer) {
        // Commands that the client sends before the answer to MAIL arrive in the meantime.
        const next = peer.line();
        // The rest of the same piece has arrived with it, or comes when a busy machine gets to it.
        let timer: ReturnType<typeof setTimeout>;
        const pipelined = await Promise.race([
          next.then(() => true),
          new Promise<boolean>((resolve) => {
            timer = setTimeout(resolve, extensions.length > 0 ? 20_000 : 50, false);
          }),
        ]).finally(() => clearTimeout(timer));
        early.push(pipelined ? 1 : 0);
        await peer.say("250 ok");
        if ((await next)!.startsWith("RCPT")) await peer.say("250 ok");
      },
    }, extensions)(peer);
  for (const extensions of [["PIPELINING"], []]) {
    await using here = setup(waiting(extensions));
    await here.mailer.send(message);
    assertEquals(here.said()[0]!.slice(0, 4), ["EHLO", "MAIL", "RCPT", "DATA"]);
  }
  assertEquals(early, [1, 0]);
});

Deno.test("two thousand recipients go out in groups, each with its own reply", async () => {
  const to = Array.from({ length: 2000 }, (_, i) => `user${i}@example.com`);
  const RCPT = async (peer: Peer, line: string) => {
    const refused = /user\d*7@/.test(line);
    await peer.say(refused ? "550 5.1.1 unknown ".padEnd(400, "x") : "250 ok ".padEnd(400, "x"));
  };
  await using here = setup(polite({ RCPT }));
  const { rejected } = await here.mailer.send({ ...message, to });
  assertEquals(rejected?.map(({ address }) => address), to.filter((address) => /7@/.test(address)));
  assertEquals([rejected?.[0]?.address, rejected?.[0]?.status], ["user7@example.com", 550]);
  assert(rejected![0]!.reply!.length <= 510, "a reply is kept in full");
});

Deno.test("one refused recipient does not stop the others", async () => {
  const RCPT = async (peer: Peer, line: string) => {
    await peer.say(
      line.includes("<b@") ? "550 5.1.1 unknown" : line.includes("<c@") ? "450 4.2.0 later" : "250 ok",
    );
  };
  for (const extensions of [["PIPELINING"], []]) {
    await using here = setup(polite({ RCPT }, extensions));
    const receipt = await here.mailer.send({ ...message, cc: "b@example.com", bcc: "c@example.com" });
    assertEquals(receipt.accepted, ["john@example.com"]);
    assertEquals(receipt.rejected, [{ address: "b@example.com", status: 550, reply: "550 5.1.1 unknown" }]);
    assertEquals(receipt.deferred, [{ address: "c@example.com", status: 450, reply: "450 4.2.0 later" }]);
    const nobody = await failure(here.mailer.send({ ...message, to: ["b@example.com", "c@example.com"] }));
    assertEquals(
      [nobody.code, nobody.phase, nobody.delivery, nobody.status, nobody.retryable],
      ["message-rejected", "rcpt", "not-sent", 450, true],
    );
    // The same connection goes on with what comes next.
    await here.mailer.send(message);
    assertEquals(here.server.connections.length, 1);
    assert(here.said()[0]!.includes("RSET"));
  }
});

Deno.test("a server that waits for a message without recipients is sent a lone dot", async () => {
  await using here = setup(polite({ RCPT: (peer) => peer.say("550 no") }));
  const error = await failure(here.mailer.send(message));
  assertEquals([error.status, error.phase, error.delivery], [550, "rcpt", "not-sent"]);
  const { heard } = here.server.connections[0]!;
  assertEquals(heard.slice(heard.indexOf("DATA")).slice(0, 2), ["DATA", "."]);
});

Deno.test("a server that refuses and disconnects is understood, also with commands unanswered", async () => {
  for (const step of ["MAIL", "RCPT"] as const) {
    const leave = async (peer: Peer) => {
      await peer.say("550 5.7.1 no");
      peer.close();
    };
    await using here = setup(polite({ [step]: leave }));
    const error = await failure(here.mailer.send(message));
    assertEquals([error.code, error.phase, error.status], ["message-rejected", step.toLowerCase(), 550]);
    assertEquals([error.delivery, error.retryable], ["not-sent", false]);
  }
});

Deno.test("a message larger than SIZE is refused before anything is sent", async () => {
  await using here = setup(polite({}, ["SIZE 1000"]));
  const error = await failure(here.mailer.send({ ...message, text: "x".repeat(2000) }));
  assertEquals([error.code, error.delivery, error.retryable], ["message-too-large", "not-sent", false]);
  await here.mailer.send(message);
  const mails = here.server.connections[0]!.heard.filter((line) => line.startsWith("MAIL"));
  assertEquals(mails.length, 1);
  const { bytes } = await buildMime(message);
  assertEquals(mails[0], `MAIL FROM:<jane@example.com> SIZE=${bytes.length}`);
});

Deno.test("an address outside ASCII needs SMTPUTF8, and is unsupported without it", async () => {
  const abroad = { ...message, to: "jöhn@example.com" };
  await using without = setup(polite({}, ["8BITMIME"]));
  const error = await failure(without.mailer.send(abroad));
  assertEquals([error.code, error.delivery], ["unsupported", "not-sent"]);
  await using here = setup(polite({}, ["8BITMIME", "SMTPUTF8"]));
  await here.mailer.send(abroad);
  const { heard } = here.server.connections[0]!;
  assertEquals(heard[1], "MAIL FROM:<jane@example.com> SMTPUTF8 BODY=8BITMIME");
  assertEquals(heard[2], `RCPT TO:<${String.fromCharCode(...new TextEncoder().encode("jöhn@example.com"))}>`);
});

Deno.test("the bytes of every message are 7-bit, so no server needs 8BITMIME", async () => {
  await using here = setup(polite({}, []));
  const attachments = [{ filename: "ü.bin", content: new Uint8Array([0, 128, 255]) }];
  await here.mailer.send({ ...message, subject: "Grüße 🎉", html: "<p>🎉</p>", attachments });
  assertEquals(here.server.connections[0]!.heard.filter((line) => /[^\t -~]/.test(line)), []);
});

Deno.test("a server without EHLO is spoken to with HELO, but never when encryption is required", async () => {
  const EHLO = (peer: Peer) => peer.say("502 what?");
  const script = async (peer: Peer) => {
    const helo: Peer = {
      ...peer,
      async line() {
        const line = await peer.line();
        if (!line?.startsWith("HELO")) return line;
        await peer.say("250 hello");
        return await peer.line();
      },
    };
    await polite({ EHLO })(helo);
  };
  await using here = setup(script);
  await here.mailer.send(message);
  assertEquals(here.said()[0]!.slice(0, 3), ["EHLO", "HELO", "MAIL"]);
  await using strict = setup(script, { security: "starttls" });
  const error = await failure(strict.mailer.send(message));
  assertEquals([error.code, error.phase, error.status], ["backend-unavailable", "hello", 502]);
  assertEquals(strict.said(), [["EHLO"]]);
});

Deno.test("starttls: plain text after the server's reply is refused, at once or later", async () => {
  for (const pause of [0, 30]) {
    const script = async (peer: Peer) => {
      await peer.say("220 hi");
      await peer.line();
      await peer.say("250-scripted", "250 STARTTLS");
      await peer.line();
      if (pause === 0) await peer.say("220 go", "250-injected", "250 AUTH PLAIN");
      else {
        await peer.say("220 go");
        await new Promise((resolve) => setTimeout(resolve, pause));
        await peer.say("250-injected", "250 AUTH PLAIN");
      }
      await peer.line();
    };
    const auth = { username: "account", password: "secret" };
    await using here = setup(script, { security: "starttls", auth });
    const error = await failure(here.mailer.send(message));
    assertEquals([error.phase, error.delivery, error.code], ["tls", "not-sent", "backend-unavailable"]);
    assertEquals(here.said()[0]!.slice(0, 2), ["EHLO", "STARTTLS"]);
    assert(!here.server.connections.some(({ heard }) => heard.some((line) => /AUTH|MAIL/.test(line))));
  }
});

Deno.test("starttls: nothing more is sent to a server that does not offer it, or refuses it", async () => {
  const auth = { username: "account", password: "secret" };
  await using plain = setup(polite({}, ["AUTH PLAIN"]), { security: "starttls", auth });
  const error = await failure(plain.mailer.send(message));
  assertEquals([error.code, error.delivery], ["unsupported", "not-sent"]);
  assertEquals(plain.said(), [["EHLO"]]);
  const refusing = async (peer: Peer) => {
    await peer.say("220 hi");
    await peer.line();
    await peer.say("250 STARTTLS", "250 STARTTLS");
  };
  await using garbled = setup(refusing, { security: "starttls", auth });
  assertEquals((await failure(garbled.mailer.send(message))).delivery, "not-sent");
  await using later = setup(async (peer) => {
    await peer.say("220 hi");
    await peer.line();
    await peer.say("250-scripted", "250 STARTTLS");
    await peer.line();
    await peer.say("454 4.7.0 not now");
    await peer.line();
  }, { security: "starttls", auth });
  const temporary = await failure(later.mailer.send(message));
  assertEquals([temporary.phase, temporary.status, temporary.retryable], ["tls", 454, true]);
  assertEquals(later.said(), [["EHLO", "STARTTLS"]]);
});

Deno.test("credentials never go over plain text unless asked for", () => {
  const auth = { username: "account", password: "secret" };
  const error = assertThrows(
    () => smtpMailer({ connector, host: "localhost", security: "none", auth }),
    TypeError,
  );
  assert(!/account|secret/.test(error.message));
});

Deno.test("a token is asked for per connection, and its refusal is the server's own", async () => {
  let tokens = 0;
  const answers = ["235 ok", "334 eyJzdGF0dXMiOiI0MDEifQ=="];
  const AUTH = async (peer: Peer) => {
    await peer.say(answers[peer.number]!);
    if (peer.number === 1) {
      assertEquals(await peer.line(), "");
      await peer.say("535 5.7.8 no");
    }
  };
  const accessToken = () => Promise.resolve(`token${++tokens}`);
  const auth = { username: "account", accessToken };
  await using here = setup(polite({ AUTH }, ["AUTH XOAUTH2"]), { auth, maxMessages: 1 });
  await here.mailer.send(message);
  const line = here.server.connections[0]!.heard[1]!;
  assertEquals(atob(line.split(" ")[2]!), "user=account\x01auth=Bearer token1\x01\x01");
  const error = await failure(here.mailer.send(message));
  assertEquals([error.code, error.status, error.retryable, tokens], ["unauthorized", 535, false, 2]);

  const broken = { username: "account", accessToken: () => Promise.reject(new Error("offline")) };
  await using nobody = setup(polite({}, ["AUTH XOAUTH2"]), { auth: broken });
  const none = await failure(nobody.mailer.send(message));
  assertEquals([none.code, none.phase, none.delivery], ["unauthorized", "auth", "not-sent"]);
});

Deno.test("the reply's words reach the caller without addresses", async () => {
  const RCPT = (peer: Peer) =>
    peer.say("550-5.7.1 <john@example.com> john is not wanted,", "550 5.7.1 see https://x.test/1");
  await using here = setup(polite({ RCPT }));
  const error = await failure(here.mailer.send(message));
  assertEquals(
    error.message,
    "Cannot send by smtp as the server refused every recipient: reply is 550 5.7.1",
  );
  const { message: told } = error.cause as Error;
  assertEquals(
    told,
    "MAIL 250 2.0.0, RCPT 550 5.7.1, DATA 354, . 250 2.0.0: 550 5.7.1 … … is not wanted, 5.7.1 see https://x.test/1",
  );
});

Deno.test("a server's own id is found in its reply, and never invented", async () => {
  const replies = {
    "250 2.0.0 Ok: queued as 4Xb1Zq2Kk9z": "4Xb1Zq2Kk9z",
    "250 OK id=1tFooo-000000001Ab-2xYz": "1tFooo-000000001Ab-2xYz",
    "250 2.0.0 4AOFbC1d123456 Message accepted for delivery": "4AOFbC1d123456",
    "250 Ok 0100018c0f5d7e2a-1b2c3d4e-000000": "0100018c0f5d7e2a-1b2c3d4e-000000",
    "250 2.6.0 thanks": undefined,
    "250": undefined,
  };
  for (const [reply, id] of Object.entries(replies)) {
    await using here = setup(polite({ dot: (peer) => peer.say(reply) }));
    const receipt = await here.mailer.send(message, { idempotencyKey: "order-1" });
    assertEquals(receipt.id, id, reply);
    assertEquals(receipt.messageId, (await buildMime(message, { idempotencyKey: "order-1" })).messageId);
  }
});

Deno.test("quota, rate and authentication have other codes than a refused message", async () => {
  const cases = [
    ["dot", "454 Throttling failure: Maximum sending rate exceeded.", "rate-limited", true],
    ["dot", "454 Throttling failure: Daily message quota exceeded.", "quota-exceeded", false],
    ["MAIL", "530 5.7.0 authenticate first", "unauthorized", false],
    ["MAIL", "555 5.5.4 unsupported parameters", "unsupported", false],
    ["RCPT", "552 5.2.2 mailbox full", "message-rejected", false],
    ["DATA", "452 4.3.1 no room", "message-rejected", true],
    ["dot", "554 5.6.0 spam", "message-rejected", false],
  ] as const;
  for (const [step, reply, code, retryable] of cases) {
    await using here = setup(polite({ [step]: (peer: Peer) => peer.say(reply) }));
    const error = await failure(here.mailer.send(message));
    assertEquals([error.code, error.retryable, error.delivery], [code, retryable, "not-sent"], reply);
  }
});

Deno.test("a feature that SMTP lacks is unsupported, and a bad message is refused, before anything is sent", async () => {
  await using here = setup(polite());
  for (const more of [{ tags: ["a"] }, { metadata: { a: "b" } }, { sendAt: new Date() }]) {
    assertEquals((await failure(here.mailer.send({ ...message, ...more }))).code, "unsupported");
  }
  for (
    const more of [{ to: [] }, { to: "a@example.com>\r\nRCPT TO:<b@example.com" }, { subject: "a\r\nBcc: b" }]
  ) {
    await assertRejects(() => here.mailer.send({ ...message, ...more }), TypeError);
  }
  await assertRejects(() => here.mailer.send(message, { idempotencyKey: "a\r\nb" }), TypeError);
  await assertRejects(() => here.mailer.send(message, { timeout: -1 }), RangeError);
  assertEquals(here.server.connections.length, 0);
});

Deno.test("options are checked when the mailer is made", () => {
  const types = [
    { host: "" },
    { host: "a b" },
    { host: "a\r\nb" },
    { host: "h", connector: undefined as unknown as SmtpConnector },
    { host: "h", name: "me\r\nMAIL" },
    { host: "h", security: "ssl" as "tls" },
    { host: "h", auth: { username: "", password: "x" } },
    { host: "h", auth: { username: "a\0b", password: "x" } },
    { host: "h", auth: { username: "a", password: "\ud800" } },
    { host: "h", auth: { username: "a", accessToken: "a\x01b" } },
  ];
  for (const options of types) assertThrows(() => smtpMailer({ connector, ...options }), TypeError);
  const ranges = [
    { host: "h", port: 0 },
    { host: "h", port: 65536 },
    { host: "h", maxConnections: 0 },
    { host: "h", maxMessages: 1.5 },
    { host: "h", timeout: 0 },
    { host: "h", idleTimeout: Infinity },
    { host: "h", timeouts: { data: -1 } },
  ];
  for (const options of ranges) assertThrows(() => smtpMailer({ connector, ...options }), RangeError);
});

Deno.test("port 25 on Workers is refused before a socket is asked for", async () => {
  const connect = () => {
    throw new Error("asked");
  };
  const mailer = smtpMailer({
    host: "h",
    port: 25,
    security: "none",
    connector: cloudflareConnector(connect),
  });
  const error = await failure(mailer.send(message));
  assertEquals([error.code, error.delivery], ["unsupported", "not-sent"]);
  assert(error.message.includes("port 25 on Workers: use 465 or 587"));
});

Deno.test("a closed port: not sent, in the phase of connecting", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  await using mailer = smtpMailer({ host: "127.0.0.1", port, connector: denoConnector() });
  const error = await failure(mailer.send(message));
  assertEquals(
    [error.code, error.phase, error.delivery, error.retryable],
    ["backend-unavailable", "connect", "not-sent", true],
  );
});

Deno.test("the sockets of Node serve under Deno, too", async () => {
  await using here = setup(polite(), { connector: nodeConnector() });
  assertEquals((await here.mailer.send(message)).id, "N0");
  assertEquals((await here.mailer.send(message)).id, "N0");
});
