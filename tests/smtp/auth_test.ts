/** EHLO's name, authentication by RFC 4954, PIPELINING as an option, and the classes of faults. */
import { denoConnector, smtpMailer } from "@holdfast/edge/smtp";
import { ehloName } from "../../adapters/smtp/_session.ts";
import { faultClass } from "../../src/fault_class.ts";
import { assert, assertEquals, assertMatch, assertThrows } from "../support/assert.ts";
import { type Deviation, type Peer, polite } from "../support/smtp/scripted_server.ts";
import { failure, message, setup } from "./_setup.ts";

const account = { username: "account", password: "secret" };

Deno.test("EHLO names the socket's address, the machine's name if it has a domain, or the option's value", async () => {
  await using here = setup(polite());
  await here.mailer.send(message);
  const [ehlo] = here.server.connections[0]!.heard;
  const machine = Deno.hostname();
  assertEquals(ehlo, `EHLO ${ehloName(machine, "127.0.0.1")}`);
  await using named = setup(polite(), { name: "mail.example.com" });
  await named.mailer.send(message);
  assertEquals(named.server.connections[0]!.heard[0], "EHLO mail.example.com");
  const names: [hostname: string | undefined, address: string | undefined, name: string][] = [
    ["web-1.example.com", "192.0.2.1", "web-1.example.com"],
    ["a1b2c3d4", "192.0.2.1", "[192.0.2.1]"],
    ["10.0.0.7", "192.0.2.1", "[192.0.2.1]"],
    ["evil.example\r\nMAIL", "192.0.2.1", "[192.0.2.1]"],
    [undefined, "2001:db8::1", "[IPv6:2001:db8::1]"],
    [undefined, "fe80::1%eth0", "[IPv6:fe80::1]"],
    [undefined, "::ffff:192.0.2.1", "[192.0.2.1]"],
    [undefined, undefined, "[127.0.0.1]"],
  ];
  for (const [hostname, address, name] of names) assertEquals(ehloName(hostname, address), name);
});

/** Answers AUTH and every response to it, one after the other. */
function answers(...replies: string[]): Deviation {
  return async (peer) => {
    for (const [i, reply] of replies.entries()) {
      await peer.say(reply);
      if (i < replies.length - 1) await peer.line();
    }
  };
}

const heardAuth = (peer: Peer) => {
  const start = peer.heard.findIndex((line) => line.startsWith("AUTH"));
  const end = peer.heard.findIndex((line) => /^(?:MAIL|QUIT)/.test(line));
  return peer.heard.slice(start, end < 0 ? undefined : end);
};

Deno.test("a token whose AUTH line would have more than 512 octets waits for the challenge", async () => {
  for (const length of [100, 330, 331, 332, 333, 334, 5000]) {
    const auth = { username: "account", accessToken: "t".repeat(length) };
    const AUTH: Deviation = async (peer, line) => {
      if (line.split(" ").length === 2) {
        await peer.say("334 ");
        await peer.line();
      }
      await peer.say("235 ok");
    };
    await using here = setup(polite({ AUTH }, ["AUTH XOAUTH2"]), { auth });
    await here.mailer.send(message);
    const lines = heardAuth(here.server.connections[0]!);
    assert(lines[0]!.length + 2 <= 512, `a line of ${lines[0]!.length + 2} octets`);
    assertEquals(
      atob(lines.at(-1)!.split(" ").at(-1)!),
      `user=account\x01auth=Bearer ${auth.accessToken}\x01\x01`,
    );
    const whole = `AUTH XOAUTH2 ${btoa(`user=account\x01auth=Bearer ${auth.accessToken}\x01\x01`)}\r\n`;
    assertEquals(lines.length, whole.length <= 512 ? 1 : 2, `a token of ${length}`);
  }
});

Deno.test("a long password waits for the challenge, too", async () => {
  const auth = { username: "account", password: "p".repeat(600) };
  await using here = setup(polite({ AUTH: answers("334 ", "235 ok") }, ["AUTH PLAIN"]), { auth });
  await here.mailer.send(message);
  const lines = heardAuth(here.server.connections[0]!);
  assertEquals([lines.length, lines[0]], [2, "AUTH PLAIN"]);
});

Deno.test("PLAIN that is offered and not implemented (504) falls back to LOGIN; another refusal does not", async () => {
  const AUTH: Deviation = async (peer, line) => {
    if (line.startsWith("AUTH PLAIN")) return await peer.say("504 5.5.4 not implemented");
    await answers("334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 ok")(peer, line);
  };
  await using here = setup(polite({ AUTH }, ["AUTH PLAIN LOGIN"]), { auth: account });
  await here.mailer.send(message);
  assertEquals(heardAuth(here.server.connections[0]!).slice(1), [
    "AUTH LOGIN",
    btoa("account"),
    btoa("secret"),
  ]);

  await using wrong = setup(polite({ AUTH: answers("535 5.7.8 no") }, ["AUTH PLAIN LOGIN"]), {
    auth: account,
  });
  assertEquals((await failure(wrong.mailer.send(message))).code, "unauthorized");
  assertEquals(heardAuth(wrong.server.connections[0]!).length, 1);
});

Deno.test("a server that ignores the initial response gets it once more, and no third time", async () => {
  const auth = account;
  const plain = btoa("\0account\0secret");
  await using here = setup(polite({ AUTH: answers("334 ", "235 ok") }, ["AUTH PLAIN"]), { auth });
  await here.mailer.send(message);
  assertEquals(heardAuth(here.server.connections[0]!), [`AUTH PLAIN ${plain}`, plain]);

  const endless = answers(...Array(50).fill("334 "));
  await using loop = setup(polite({ AUTH: endless }, ["AUTH PLAIN"]), { auth });
  const error = await failure(loop.mailer.send(message));
  assertEquals([error.code, error.phase, error.retryable, error.status], [
    "unauthorized",
    "auth",
    false,
    334,
  ]);
  assertEquals(faultClass(error), "misconfiguration");
  assertEquals(loop.server.connections[0]!.heard.slice(1, 4), [`AUTH PLAIN ${plain}`, plain, "*"]);

  const token = { username: "account", accessToken: "token" };
  await using explains = setup(
    polite({ AUTH: answers("334 eyJzdGF0dXMiOiI0MDEifQ==", "535 no") }, ["AUTH XOAUTH2"]),
    {
      auth: token,
    },
  );
  const refused = await failure(explains.mailer.send(message));
  assertEquals([refused.code, refused.status], ["unauthorized", 535]);
  assertEquals(explains.server.connections[0]!.heard[2], "");
});

Deno.test("pipelining: false says one command at a time although the server offers PIPELINING", async () => {
  let early = 0;
  const RCPT: Deviation = async (peer) => {
    const next = peer.line();
    const pipelined = await Promise.race([
      next.then(() => true),
      new Promise<boolean>((resolve) => setTimeout(resolve, 50, false)),
    ]);
    if (pipelined) early++;
    await peer.say("250 ok");
    await next; // DATA
    await peer.say("354 go");
    while (await peer.line() !== ".");
    await peer.say("250 ok");
  };
  await using here = setup(polite({ RCPT }, ["PIPELINING"]), { pipelining: false });
  await here.mailer.send(message);
  assertEquals(early, 0);
});

Deno.test("an unknown host and a refused connection are different errors, each with its cause", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  const fails = async (host: string, connector = denoConnector()) => {
    await using mailer = smtpMailer({ host, port, connector, security: "none" });
    const error = await failure(mailer.send(message));
    assertEquals([error.phase, error.delivery], ["connect", "not-sent"]);
    assert(error.cause instanceof Error && error.cause.message !== "", "there is a cause");
    assert(!error.message.includes(host), error.message);
    return error;
  };
  const refused = await fails("127.0.0.1");
  assertMatch(refused.message, /refused the connection/);
  assertEquals([refused.code, refused.retryable, faultClass(refused)], [
    "backend-unavailable",
    true,
    "outage",
  ]);
  const unknown = await fails("no-such-host.invalid");
  assertMatch(unknown.message, /no such host|could not be looked up/);
  // A machine without a resolver cannot tell that there is none: then it is an outage, and retryable.
  const told = unknown.message.includes("no such host") ? "misconfiguration" : "outage";
  assertEquals([faultClass(unknown), unknown.retryable], [told, told === "outage"]);
  const connect = (cause: Error) =>
    fails("x.test", { perRequest: false, connect: () => Promise.reject(cause) });
  const words: [cause: Error, pattern: RegExp, code: string][] = [
    [
      Object.assign(new Error("getaddrinfo ENOTFOUND x.test"), { code: "ENOTFOUND" }),
      /no such host/,
      "misconfigured",
    ],
    [
      Object.assign(new Error("getaddrinfo EAI_AGAIN x.test"), { code: "EAI_AGAIN" }),
      /looked up/,
      "backend-unavailable",
    ],
    [Object.assign(new Error("connect"), { code: "ECONNREFUSED" }), /refused/, "backend-unavailable"],
    [Object.assign(new Error("Requires net access"), { name: "NotCapable" }), /permit/, "misconfigured"],
    [new Error("proxy request failed"), /no connection came about/, "backend-unavailable"],
  ];
  for (const [cause, pattern, code] of words) {
    const error = await connect(cause);
    assertMatch(error.message, pattern);
    assertEquals(error.code, code);
  }
});

Deno.test("a mistyped option is refused, in the mailer, its parts and its connector", () => {
  const connector = denoConnector();
  const good = { connector, host: "h" };
  const bad: object[] = [
    { ...good, clientName: "x" },
    { ...good, timeouts: { conect: "1s" } },
    { ...good, auth: { username: "a", pasword: "b", password: "c" } },
    { ...good, pipelining: "no" },
    { ...good, security: "ssl" },
    { ...good, auth: "a:b" },
  ];
  for (const options of bad) assertThrows(() => smtpMailer(options as typeof good), TypeError);
  assertThrows(() => denoConnector({ cacerts: [] } as object), TypeError);
});
