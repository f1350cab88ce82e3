/** Mechanisms that are handed in: against the standards' own examples, and against a server's other half. */
import { Buffer } from "node:buffer";
import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";
import { cramMd5, denoConnector, oauthBearer, scramSha256, smtpMailer } from "@holdfast/edge/smtp";
import { hmacMd5, md5 } from "../../adapters/smtp/cram_md5.ts";
import { scramExchange } from "../../adapters/smtp/scram_sha256.ts";
import { assertEquals, assertMatch, assertRejects, assertThrows } from "../support/assert.ts";
import { type Deviation, type Peer, polite } from "../support/smtp/scripted_server.ts";
import { failure, message, setup } from "./_setup.ts";

const decode = (text: string) => Buffer.from(text, "base64").toString("utf8");
const encode = (text: string) => Buffer.from(text, "utf8").toString("base64");

Deno.test("MD5 and its HMAC agree with the runtime's for 400 lengths, and with RFC 2195's example", () => {
  for (let length = 0; length < 400; length++) {
    const bytes = randomBytes(length);
    assertEquals(Buffer.from(md5(bytes)).toString("hex"), createHash("md5").update(bytes).digest("hex"));
  }
  for (const secret of ["tanstaaftanstaaf", "ü".repeat(40), "k".repeat(64), "k".repeat(65)]) {
    const text = "<1896.697170952@postoffice.reston.mci.net>";
    assertEquals(hmacMd5(secret, text), createHmac("md5", secret).update(text).digest("hex"));
  }
  assertEquals(
    hmacMd5("tanstaaftanstaaf", "<1896.697170952@postoffice.reston.mci.net>"),
    "b913a602c7eda7a495b4e6e7334d3890",
  );
});

Deno.test("SCRAM-SHA-256 sends the messages of RFC 7677's example", async () => {
  const exchange = scramExchange("user", "pencil", "rOprNGfwEbeRWgbNEkqO");
  assertEquals(exchange.begin, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
  const nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
  const first = `r=${nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096`;
  assertEquals(
    await exchange.respond(first),
    `c=biws,r=${nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=`,
  );
  assertEquals(await exchange.respond("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), "");
  exchange.complete!();
});

Deno.test("SCRAM-SHA-256 refuses a server that repeats the nonce, asks for few rounds or proves nothing", async () => {
  const respond = async (first: string) => await scramExchange("u", "p", "abc").respond(first);
  await assertRejects(() => respond("r=abc,s=AAAA,i=4096"));
  await assertRejects(() => respond("r=xyzabc,s=AAAA,i=4096"));
  await assertRejects(() => respond("r=abcd,s=AAAA,i=4095"));
  await assertRejects(() => respond("r=abcd,s=AAAA,i=1000001"));
  await assertRejects(() => respond("e=no"));
  const exchange = scramExchange("u", "p", "abc");
  await exchange.respond("r=abcd,s=AAAA,i=4096");
  await assertRejects(async () => void await exchange.respond("v=AAAA"));
});

/** A server's half of SCRAM with the runtime's own cryptography. */
function scramServer(password: string, behave: "well" | "without proof" | "with a wrong proof"): Deviation {
  return async (peer, line) => {
    const first = decode(line.split(" ")[2]!);
    const [, bare, clientNonce] = /^n,,(n=[^,]+,r=(.+))$/.exec(first)!;
    const salt = randomBytes(16);
    const serverFirst = `r=${clientNonce}${randomBytes(9).toString("base64")},s=${
      salt.toString("base64")
    },i=4096`;
    await peer.say(`334 ${encode(serverFirst)}`);
    const final = decode((await peer.line())!);
    const [, without, proof] = /^(c=biws,r=[^,]+),p=(.+)$/.exec(final)!;
    const salted = pbkdf2Sync(password.normalize("NFKC"), salt, 4096, 32, "sha256");
    const hmac = (key: Buffer, text: string) => createHmac("sha256", key).update(text).digest();
    const clientKey = hmac(salted, "Client Key");
    const message = `${bare},${serverFirst},${without}`;
    const signature = hmac(createHash("sha256").update(clientKey).digest(), message);
    const right = Buffer.from(clientKey.map((byte, i) => byte ^ signature[i]!)).toString("base64");
    if (proof !== right) return void await peer.say("535 5.7.8 no");
    if (behave === "without proof") return void await peer.say("235 2.7.0 ok");
    const key = behave === "well" ? hmac(salted, "Server Key") : randomBytes(32);
    await peer.say(`334 ${encode(`v=${hmac(key, message).toString("base64")}`)}`);
    if (await peer.line() === "") await peer.say("235 2.7.0 ok");
    else await peer.say("501 5.7.0 cancelled");
  };
}

Deno.test("SCRAM-SHA-256 over a connection: the right password, a wrong one, and servers without the proof", async () => {
  const auth = { username: "jörg,=x", password: "pässword", mechanism: scramSha256 };
  const outcome = async (password: string, behave: Parameters<typeof scramServer>[1]) => {
    await using one = setup(polite({ AUTH: scramServer(password, behave) }, ["AUTH PLAIN SCRAM-SHA-256"]), {
      auth,
    });
    return await one.mailer.send(message).then(() => "sent", (error) => `${error.code} in ${error.phase}`);
  };
  assertEquals(await outcome("pässword", "well"), "sent");
  assertEquals(await outcome("other", "well"), "unauthorized in auth");
  assertEquals(await outcome("pässword", "without proof"), "unauthorized in auth");
  assertEquals(await outcome("pässword", "with a wrong proof"), "unauthorized in auth");
});

const heardAuth = ({ heard }: Peer) => heard.slice(heard.findIndex((line) => line.startsWith("AUTH")));

Deno.test("CRAM-MD5 answers the challenge, once", async () => {
  const challenge = "<17.4711@mail.example.com>";
  const AUTH: Deviation = async (peer) => {
    await peer.say(`334 ${encode(challenge)}`);
    const answer = decode((await peer.line())!);
    const right = `account ${createHmac("md5", "secret").update(challenge).digest("hex")}`;
    await peer.say(answer === right ? "235 2.7.0 ok" : "535 5.7.8 no");
  };
  const auth = { username: "account", password: "secret", mechanism: cramMd5 };
  await using one = setup(polite({ AUTH }, ["AUTH PLAIN CRAM-MD5"]), { auth });
  await one.mailer.send(message);
  assertEquals(heardAuth(one.server.connections[0]!)[0], "AUTH CRAM-MD5");
  const insists: Deviation = async (peer) => {
    await peer.say(`334 ${encode(challenge)}`);
    await peer.line();
    await peer.say(`334 ${encode(challenge)}`);
    assertEquals(await peer.line(), "*");
    await peer.say("501 5.7.0 cancelled");
  };
  await using again = setup(polite({ AUTH: insists }, ["AUTH CRAM-MD5"]), { auth });
  const error = await failure(again.mailer.send(message));
  assertEquals([error.code, error.phase], ["unauthorized", "auth"]);
});

Deno.test("OAUTHBEARER sends the token by RFC 7628, and asks for the error behind a challenge", async () => {
  const AUTH: Deviation = async (peer, line) => {
    if (decode(line.split(" ")[2]!).includes("Bearer good")) return true;
    await peer.say(`334 ${encode('{"status":"invalid_token"}')}`);
    assertEquals(await peer.line(), "AQ==");
    await peer.say("535 5.7.8 invalid token");
  };
  const run = async (accessToken: string) => {
    const auth = { username: "a=b,c@example.com", accessToken: () => accessToken, mechanism: oauthBearer };
    await using one = setup(polite({ AUTH }, ["AUTH XOAUTH2 OAUTHBEARER"]), { auth });
    const outcome = await one.mailer.send(message).then(() => "sent", ({ code }) => code);
    return [outcome, decode(heardAuth(one.server.connections[0]!)[0]!.split(" ")[2]!)];
  };
  assertEquals(await run("good"), ["sent", "n,a=a=3Db=2Cc@example.com,\x01auth=Bearer good\x01\x01"]);
  assertEquals((await run("bad"))[0], "unauthorized");
});

Deno.test("a chosen mechanism is the only one: another is never tried in its place", async () => {
  const account = { username: "account", password: "secret" };
  const verbs = async (mechanism: "PLAIN" | "LOGIN", offered: string) => {
    const AUTH: Deviation = async (peer, line) => {
      if (line === "AUTH LOGIN") {
        for (const challenge of ["Username:", "Password:"]) {
          await peer.say(`334 ${encode(challenge)}`);
          await peer.line();
        }
      }
      return true;
    };
    await using one = setup(polite({ AUTH }, [offered]), { auth: { ...account, mechanism } });
    const outcome = await one.mailer.send(message).then(() => "sent", ({ code }) => code);
    return [outcome, heardAuth(one.server.connections[0]!)[0]?.split(" ")[1]];
  };
  assertEquals(await verbs("LOGIN", "AUTH PLAIN LOGIN"), ["sent", "LOGIN"]);
  assertEquals(await verbs("PLAIN", "AUTH PLAIN LOGIN"), ["sent", "PLAIN"]);
  assertEquals((await verbs("LOGIN", "AUTH PLAIN"))[0], "unsupported");
  for (const [mechanism, name] of [[scramSha256, "SCRAM-SHA-256"], [cramMd5, "CRAM-MD5"]] as const) {
    await using one = setup(polite({}, ["AUTH PLAIN LOGIN"]), { auth: { ...account, mechanism } });
    const error = await failure(one.mailer.send(message));
    assertEquals([error.code, error.delivery], ["unsupported", "not-sent"]);
    assertMatch(error.message, new RegExp(name));
  }
  const wrong = { ...account, mechanism: "NTLM" as never };
  const options = { connector: denoConnector(), host: "localhost", auth: wrong };
  assertThrows(() => smtpMailer(options), TypeError);
});
