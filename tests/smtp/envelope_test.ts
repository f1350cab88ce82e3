/** A message's own envelope, VERP, notifications and raw messages, as the server hears them. */
import { buildMime, MailError, retrying } from "@holdfast/edge/mail";
import {
  denoConnector,
  smtpEnvelope,
  smtpMailer,
  type SmtpMailerOptions,
  type SmtpOptions,
  verifySmtp,
  verpAddress,
  verpRecipient,
} from "@holdfast/edge/smtp";
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "../support/assert.ts";
import { type Deviation, polite } from "../support/smtp/scripted_server.ts";
import { failure, message, setup } from "./_setup.ts";

const EXTENSIONS = [
  "PIPELINING",
  "SIZE 1000000",
  "8BITMIME",
  "SMTPUTF8",
  "ENHANCEDSTATUSCODES",
  "DSN",
  "REQUIRETLS",
];
const two = { ...message, to: ["jane@example.net", "john@example.net"] };

function here(options: Partial<SmtpMailerOptions> = {}, extensions = EXTENSIONS, deviations = {}) {
  return setup(polite(deviations, extensions), { envelope: smtpEnvelope, ...options });
}

/** The envelope that was heard: MAIL and RCPT, without SIZE. */
function envelopeOf({ server }: ReturnType<typeof setup>): string[] {
  return server.connections.flatMap(({ heard }) => heard)
    .filter((line) => /^(?:MAIL|RCPT)/.test(line))
    .map((line) => line.replace(/ SIZE=\d+/, ""));
}

function headOf({ server }: ReturnType<typeof setup>): string[] {
  const { heard } = server.connections[0]!;
  const start = heard.indexOf("DATA") + 1;
  return heard.slice(start, heard.indexOf("", start));
}

Deno.test("an envelope of its own replaces sender and recipients, and no header", async () => {
  await using one = here();
  const envelope = { from: "bounces@example.com", to: ["archive@example.org"] };
  const receipt = await one.mailer.send({ ...two, provider: { smtp: { envelope } } });
  assertEquals(receipt.accepted, ["archive@example.org"]);
  assertEquals(envelopeOf(one), ["MAIL FROM:<bounces@example.com>", "RCPT TO:<archive@example.org>"]);
  const head = headOf(one);
  assert(head.includes("To: jane@example.net, john@example.net") && head.includes("From: jane@example.com"));
  await using none = here();
  await none.mailer.send({ ...message, provider: { smtp: { envelope: { from: "" } } } });
  assertEquals(envelopeOf(none), ["MAIL FROM:<>", "RCPT TO:<john@example.com>"]);
});

Deno.test("VERP: each recipient has a sender of its own that names it, and a refusal is that recipient's", async () => {
  const RCPT: Deviation = async (peer, line) => {
    if (!line.includes("john")) return true;
    await peer.say("550 5.1.1 <john@example.net>: no such user");
  };
  await using one = here({ defaults: { verp: "bounces@example.com" } }, EXTENSIONS, { RCPT });
  const receipt = await one.mailer.send(two);
  assertEquals(envelopeOf(one), [
    "MAIL FROM:<bounces+jane=example.net@example.com>",
    "RCPT TO:<jane@example.net>",
    "MAIL FROM:<bounces+john=example.net@example.com>",
    "RCPT TO:<john@example.net>",
  ]);
  assertEquals(receipt.accepted, ["jane@example.net"]);
  assertEquals([receipt.rejected, receipt.deferred], [
    [{ address: "john@example.net", status: 550 }],
    undefined,
  ]);
  // In whatever place: the others still get theirs, and without any the refusal is the error.
  await using last = here({ defaults: { verp: "bounces@example.com" } }, EXTENSIONS, { RCPT });
  const to = ["john@example.net", "a@example.net", "b@example.net"];
  assertEquals((await last.mailer.send({ ...message, to })).accepted, to.slice(1));
  const error = await failure(last.mailer.send({ ...message, to: "john@example.net" }));
  assertEquals([error.code, error.status], ["message-rejected", 550]);
});

Deno.test("verpRecipient() reverses verpAddress(), for any local part", () => {
  for (const local of ["jane", "jane+tag", "a=b", "o'neill", "x_y.z", '"a b"', "jörg", "50%"]) {
    const sender = verpAddress("bounces@example.com", `${local}@example.net`);
    assertEquals(verpRecipient(sender), `${local}@example.net`);
    assertMatch(sender, /^bounces\+[^\s@"]+@example\.com$/u);
  }
  for (const other of ["bounces@example.com", "a+b@example.com", "a+%ZZ=b@example.com"]) {
    assertEquals(verpRecipient(other), undefined);
  }
});

Deno.test("notifications are asked for in the words of RFC 3461, in xtext", async () => {
  await using one = here();
  const dsn = { notify: ["success", "failure"], return: "headers", envelopeId: "order+17=a" } as const;
  await one.mailer.send({
    ...message,
    to: "a+b=c@example.net",
    provider: { smtp: { dsn, requireTls: true } },
  });
  assertEquals(envelopeOf(one), [
    "MAIL FROM:<jane@example.com> REQUIRETLS RET=HDRS ENVID=order+2B17+3Da",
    "RCPT TO:<a+b=c@example.net> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+2Bb+3Dc@example.net",
  ]);
  await using never = here();
  await never.mailer.send({ ...message, provider: { smtp: { dsn: { notify: "never", return: "full" } } } });
  assertEquals(envelopeOf(never), [
    "MAIL FROM:<jane@example.com> RET=FULL",
    "RCPT TO:<john@example.com> NOTIFY=NEVER ORCPT=rfc822;john@example.com",
  ]);
});

Deno.test("an extension that the server does not offer is unsupported, before the message is sent", async () => {
  const cases: [SmtpOptions, RegExp][] = [
    [{ dsn: { notify: "never" } }, /'dsn' with this server/],
    [{ requireTls: true }, /'requireTls' with this server/],
    [{ raw: "Subject: x\r\n\r\nGrüße" }, /bytes above 127 with this server/],
  ];
  for (const [smtp, what] of cases) {
    await using one = here({}, ["PIPELINING"]);
    const error = await failure(one.mailer.send({ ...message, provider: { smtp } }));
    assertEquals([error.code, error.delivery], ["unsupported", "not-sent"]);
    assertMatch(error.message, what);
    assertEquals(envelopeOf(one), []);
  }
});

Deno.test("a raw message goes as it is but for its line breaks, and tells its own Message-ID", async () => {
  await using one = here();
  const raw =
    "From: a@example.com\nMessage-ID: <17@example.com>\nSubject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe?=\n\n.dot\nGrüße";
  const { from, to } = message;
  const receipt = await one.mailer.send({ from, to, provider: { smtp: { raw } } });
  assertEquals([receipt.messageId, receipt.id, receipt.reply], [
    "<17@example.com>",
    "N0",
    "250 2.0.0 Ok: queued as N0",
  ]);
  const { heard } = one.server.connections[0]!;
  const data = heard.slice(heard.indexOf("DATA") + 1, heard.indexOf("."));
  // Each byte is heard as a character; the leading dot was doubled.
  const bytes = new TextDecoder("latin1").decode(new TextEncoder().encode(raw));
  assertEquals(data, bytes.split("\n").map((line) => line.replace(/^\./, "..")));
  assertMatch(envelopeOf(one)[0]!, /BODY=8BITMIME$/);
});

Deno.test("a mailer without 'envelope' refuses the options, and options that are not valid never reach a server", async () => {
  await using plain = setup(polite());
  const error = await failure(
    plain.mailer.send({ ...message, provider: { smtp: { envelope: { from: "" } } } }),
  );
  assertEquals(error.code, "unsupported");
  await using one = here();
  const wrong: unknown[] = [
    { envelope: { from: "a@b.example\r\nRCPT" } },
    { envelope: { to: [] } },
    { envelope: { to: ["nobody"] } },
    { envelope: { sender: "a@example.com" } },
    { verp: "bounces" },
    { verp: "bounces@example.com", envelope: { from: "a@example.com" } },
    { dsn: { notify: ["sometimes"] } },
    { dsn: { notify: [] } },
    { dsn: { return: "all" } },
    { dsn: { envelopeId: "a b" } },
    { raw: "a".repeat(999) },
    { raw: "Subject: x\n\n\0" },
    { raws: "x" },
  ];
  for (const smtp of wrong) {
    await assertRejects(
      () => one.mailer.send({ ...message, provider: { smtp: smtp as SmtpOptions } }),
      TypeError,
    );
  }
  const options = { connector: denoConnector(), host: "localhost", envelope: smtpEnvelope };
  assertThrows(() => smtpMailer({ ...options, defaults: { verb: "x" } as SmtpOptions }), TypeError);
  assertEquals([one.server.connections.length, plain.server.connections.length], [0, 0]);
});

Deno.test("retrying() sends again to those recipients of an own envelope that were refused for now", async () => {
  let refused = false;
  const RCPT: Deviation = async (peer, line) => {
    if (refused || !line.includes("john")) return true;
    refused = true;
    await peer.say("451 4.7.1 greylisted");
  };
  await using one = here({}, EXTENSIONS, { RCPT });
  const mailer = retrying(one.mailer, { delay: 1 });
  const to = ["jane@example.org", "john@example.org"];
  const receipt = await mailer.send({ ...message, provider: { smtp: { envelope: { to } } } });
  assertEquals(receipt.accepted, to);
  assertEquals(envelopeOf(one).filter((line) => line.startsWith("RCPT")).map((line) => line.slice(9, 13)), [
    "jane",
    "john",
    "john",
  ]);
});

Deno.test("the mime hook builds every message, and its own bytes go out", async () => {
  await using one = setup(polite(), {
    mime: async (message, options) => {
      const built = await buildMime(message, options);
      const bytes = new TextEncoder().encode("X-Hook: 1\r\n" + new TextDecoder().decode(built.bytes));
      return { ...built, size: bytes.length, bytes, chunks: () => [bytes] };
    },
  });
  await one.mailer.send(message);
  assertEquals(headOf(one)[0], "X-Hook: 1");
});

Deno.test("a refused recipient's own reply is in the receipt", async () => {
  const RCPT: Deviation = async (peer, line) => {
    if (!line.includes("john")) return true;
    await peer.say("550 5.1.1 no such user");
  };
  await using one = here({}, EXTENSIONS, { RCPT });
  const receipt = await one.mailer.send(two);
  assertEquals(receipt.rejected, [
    { address: "john@example.net", status: 550, reply: "550 5.1.1 no such user" },
  ]);
});

Deno.test("verifySmtp() connects, authenticates and quits, and its error tells the step", async () => {
  const AUTH: Deviation = async (peer, line) => {
    const right = line.includes(btoa("\0account\0secret"));
    await peer.say(right ? "235 2.7.0 ok" : "535 5.7.8 no");
  };
  await using one = here({}, ["AUTH PLAIN"], { AUTH });
  const options = (password: string): SmtpMailerOptions => ({
    connector: denoConnector(),
    host: "127.0.0.1",
    port: one.server.port,
    security: "none",
    allowPlaintextAuth: true,
    auth: { username: "account", password },
  });
  await verifySmtp(options("secret"));
  assertEquals(one.said()[0]!.map((verb) => verb), ["EHLO", "AUTH", "QUIT"]);
  const wrong = await assertRejects(() => verifySmtp(options("wrong")), MailError);
  assertEquals([wrong.code, wrong.phase, wrong.delivery], ["unauthorized", "auth", "not-sent"]);
  const aborted = await assertRejects(
    () => verifySmtp(options("secret"), { signal: AbortSignal.abort() }),
    MailError,
  );
  assertEquals(aborted.code, "aborted");
  await assertRejects(() => verifySmtp(options("secret"), { timout: 1 } as never), TypeError);
});
