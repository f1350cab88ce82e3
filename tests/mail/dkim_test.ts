/** DKIM: signatures read by an independent verifier, `mailauth`, and broken by any change of what they cover. */
import { Buffer } from "node:buffer";
import { gzipSync } from "node:zlib";
import { dkimSigned, importDkimKey } from "@holdfast/edge/dkim";
import { buildMime, type MimeBuilder } from "@holdfast/edge/mail";
import { sesMailer } from "@holdfast/edge/ses";
import { denoConnector, smtpMailer } from "@holdfast/edge/smtp";
import { AwsClient } from "aws4fetch";
// @ts-types="npm:mailauth@^7.1.0/lib/dkim/verify.d.ts"
import { dkimVerify } from "mailauth/lib/dkim/verify.js";
import { relaxedBody } from "../../adapters/dkim/_canonical.ts";
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "../support/assert.ts";
import { bundle } from "../support/bundle.ts";
import { checkMime, parseMime } from "../support/mail/parse.ts";
import { SES_CREDENTIALS, SES_REGION, startSes } from "../support/mail/ses_server.ts";
import { startSmtp } from "../support/mail/smtp_server.ts";
import { Random } from "../support/random.ts";
import { report } from "../support/report.ts";
import { randomMessage } from "./corpus.ts";

const RSA = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", publicExponent: Uint8Array.of(1, 0, 1) };

async function rsaPair(modulusLength = 2048): Promise<CryptoKeyPair> {
  return await crypto.subtle.generateKey({ ...RSA, modulusLength }, true, ["sign", "verify"]);
}

const rsa = await rsaPair();
const ed25519 = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]) as CryptoKeyPair;
const spki = Buffer.from(await crypto.subtle.exportKey("spki", rsa.publicKey)).toString("base64");
const raw = Buffer.from(await crypto.subtle.exportKey("raw", ed25519.publicKey)).toString("base64");

const records: Record<string, string> = {
  "rsa._domainkey.example.com": `v=DKIM1; k=rsa; p=${spki}`,
  "ed._domainkey.example.com": `v=DKIM1; k=ed25519; p=${raw}`,
};
const keys = [
  { domain: "example.com", selector: "rsa", privateKey: rsa.privateKey },
  { domain: "example.com", selector: "ed", privateKey: ed25519.privateKey },
];
const message = { from: "shop@example.com", to: "jane@example.com", subject: "Hello", text: "Hello" };

/** The results of the verifier, one per signature. */
async function verified(bytes: Uint8Array): Promise<string[]> {
  const { results } = await dkimVerify(Buffer.from(bytes), {
    resolver: (name: string) => Promise.resolve([[records[name] ?? ""]]),
  });
  return results.map(({ status }: { status: { result: string } }) => status.result);
}

const sign = dkimSigned(buildMime, { keys });

Deno.test("DKIM: both signatures of 200 generated messages are valid; one flipped bit breaks them", async () => {
  const random = new Random(20261128);
  const broken = { head: 0, body: 0 };
  for (let i = 0; i < 200; i++) {
    const { bytes } = await sign(randomMessage(random), { date: new Date(1_790_000_000_000 + i) });
    checkMime(withoutSignatures(bytes), { eightBit: true });
    assertEquals(await verified(bytes), ["pass", "pass"], `message ${i}`);
    // A bit that counts: in a header that is signed, or in a letter of the body.
    const text = Buffer.from(bytes).toString("latin1");
    const subject = text.indexOf("\r\nSubject: ") + 11;
    const body = [...text.slice(text.indexOf("\r\n\r\n")).matchAll(/[A-Za-z]/g)];
    const inBody = body.length > 0 && i % 2 === 0;
    const at = inBody ? text.indexOf("\r\n\r\n") + body[random.below(body.length)]!.index : subject;
    const flipped = bytes.slice();
    flipped[at]! ^= 1;
    broken[inBody ? "body" : "head"]++;
    const results = await verified(flipped);
    assert(results.every((result) => result !== "pass"), `message ${i}, byte ${at}: ${results}`);
  }
  report(`DKIM: 400 signatures valid; ${broken.head} broken in the head, ${broken.body} in the body`);
});

function withoutSignatures(bytes: Uint8Array): Uint8Array {
  const text = Buffer.from(bytes).toString("latin1");
  return Buffer.from(text.replace(/^(?:DKIM-Signature:.*\r\n(?:[ \t].*\r\n)*)+/, ""), "latin1");
}

Deno.test("DKIM: folded and 8-bit headers, empty bodies, blanks at every end, bodies without a last line break", async () => {
  const heads = [
    "From: a@example.com\r\nSubject: x",
    "From:   Jane\r\n\t Doe <a@example.com>  \r\nsubject:\r\n folded\r\n\tand  \t folded again ",
    "From: jörg@example.com\r\nSubject: Grüße 😀",
    "FROM: a@example.com\r\nTo: b@example.com,\r\n c@example.com\r\nTo: d@example.com",
  ];
  const bodies = [
    "",
    "\r\n",
    "\r\n\r\n\r\n",
    " ",
    " \t \r\n",
    "a",
    "a\r\n",
    "a \r\n\r\n\r\n",
    "\r\n\r\na",
    "a  b\t\tc\t\r\n \r\nd",
  ];
  const eightBit = ["Grüße\r\n", "\u00a0 x \r\n"];
  for (const head of heads) {
    for (const body of [...bodies, ...eightBit]) {
      const bytes = new TextEncoder().encode(`${head}\r\n\r\n${body}`);
      for (const cut of [1, 3, bytes.length]) {
        const signed = await dkimSigned(given(bytes, cut), { keys })(message);
        assertEquals(signed.size, signed.bytes.length);
        assertEquals(await verified(signed.bytes), ["pass", "pass"], JSON.stringify([head, body, cut]));
      }
    }
  }
});

/** A builder of these bytes, in pieces of that many. */
function given(bytes: Uint8Array<ArrayBuffer>, cut: number): MimeBuilder {
  return () =>
    Promise.resolve({
      size: bytes.length,
      bytes,
      *chunks() {
        for (let at = 0; at < bytes.length; at += cut) yield bytes.slice(at, at + cut);
      },
      envelope: { from: "a@example.com", to: ["b@example.com"] },
      messageId: "",
      needsSmtpUtf8: false,
      eightBit: true,
    });
}

Deno.test("DKIM: a header that is added on the way breaks an oversigned signature alone", async () => {
  const add = (bytes: Uint8Array, header: string) => Buffer.concat([Buffer.from(header), bytes]);
  const plain = dkimSigned(buildMime, { keys, oversign: false });
  for (const header of ["Subject: Buy\r\n", "From: evil@example.com\r\n", "Reply-To: evil@example.com\r\n"]) {
    assertEquals(await verified(add((await sign(message)).bytes, header)), ["fail", "fail"], header);
  }
  assertEquals(await verified(add((await plain(message)).bytes, "Reply-To: a@example.com\r\n")), [
    "pass",
    "pass",
  ]);
  assertEquals(await verified(add((await sign(message)).bytes, "Received: from x\r\n")), ["pass", "pass"]);
});

Deno.test("DKIM: the headers of one-click unsubscription are signed, and those that were left out are not", async () => {
  const unsubscribe = { url: "https://example.com/leave" };
  const text = new TextDecoder().decode((await sign({ ...message, unsubscribe })).bytes);
  const names = /h=([^;]+);/.exec(text)![1]!.replace(/\s/g, "").split(":");
  assertEquals(names.filter((name) => name === "list-unsubscribe-post").length, 2);
  const few = dkimSigned(buildMime, { keys, headers: ["From", "Subject"] });
  const { bytes } = await few(message);
  const other = Buffer.from(
    Buffer.from(bytes).toString("latin1").replace(/\r\nDate: .*/, "\r\nDate: today"),
    "latin1",
  );
  assertEquals(await verified(other), ["pass", "pass"]);
  assert(text.split("\r\n").every((line) => line.length <= 78), "a long line");
});

Deno.test("DKIM: the signatures of messages that SMTP and SES deliver are valid", async () => {
  await using smtp = await startSmtp();
  const { hostname, port } = new URL(smtp.url);
  await using mailer = smtpMailer({
    connector: denoConnector(),
    host: hostname,
    port: Number(port),
    security: "none",
    mime: sign,
  });
  const dots = {
    ...message,
    text: ".\n..\nGrüße \n\n",
    attachments: [{ filename: "a", content: "x".repeat(5000) }],
  };
  await mailer.send(dots);
  assertEquals(await verified(smtp.accepted[0]!.raw!), ["pass", "pass"]);
  await using ses = await startSes();
  const headers = ["From", "To", "Subject", "MIME-Version", "Content-Type"];
  const client = new AwsClient(SES_CREDENTIALS);
  const mime = dkimSigned(buildMime, { keys, headers });
  await sesMailer({ region: SES_REGION, client, baseUrl: ses.url, mime }).send(dots);
  assertEquals(await verified(ses.accepted[0]!.raw!), ["pass", "pass"]);
  assertEquals((await parseMime(ses.accepted[0]!.raw!)).subject, "Hello");
});

Deno.test("DKIM: keys are PEM, and a key that cannot sign is refused when the builder is made", async () => {
  const pem = (label: string, bytes: ArrayBuffer) =>
    `-----BEGIN ${label}-----\n${
      Buffer.from(bytes).toString("base64").match(/.{1,64}/g)!.join("\n")
    }\n-----END ${label}-----\n`;
  for (const [selector, { privateKey }] of [["rsa", rsa], ["ed", ed25519]] as const) {
    const key = await importDkimKey(pem("PRIVATE KEY", await crypto.subtle.exportKey("pkcs8", privateKey)));
    const signed = dkimSigned(buildMime, { keys: [{ domain: "example.com", selector, privateKey: key }] });
    assertEquals(await verified((await signed(message)).bytes), ["pass"]);
  }
  const error = await assertRejects(
    () => importDkimKey(pem("RSA PRIVATE KEY", new ArrayBuffer(8))),
    TypeError,
  );
  assertMatch(error.message, /PKCS #8/);
  await assertRejects(() => importDkimKey(pem("PRIVATE KEY", new ArrayBuffer(8))), TypeError);
  const [key] = keys;
  const weak = await crypto.subtle.generateKey(
    { name: "ECDSA", namedCurve: "P-256" },
    true,
    ["sign", "verify"],
  );
  const wrong: unknown[] = [
    {},
    { keys: [] },
    { keys: [{ ...key, privateKey: rsa.publicKey }] },
    { keys: [{ ...key, privateKey: weak.privateKey }] },
    { keys: [{ ...key, privateKey: "PEM" }] },
    { keys: [{ ...key, domain: "a;b" }] },
    { keys: [{ ...key, selector: undefined }] },
    { keys: [{ ...key, privatekey: 1 }] },
    { keys, headers: ["Subject"] },
    { keys, hdrs: [] },
  ];
  for (const options of wrong) assertThrows(() => dkimSigned(buildMime, options as never), TypeError);
  assertThrows(() => dkimSigned(undefined as never, { keys }), TypeError);
});

Deno.test("DKIM: the canonical body does not depend on where pieces begin", () => {
  const body = new TextEncoder().encode("a \r\n\r\n  b\tc \t\r\n\r\n \r\n");
  const whole = Buffer.concat([...relaxedBody([body])]).toString();
  assertEquals(whole, "a\r\n\r\n b c\r\n");
  for (let first = 0; first <= body.length; first++) {
    for (let second = first; second <= body.length; second++) {
      const pieces = [body.slice(0, first), body.slice(first, second), body.slice(second)];
      assertEquals(Buffer.concat([...relaxedBody(pieces)]).toString(), whole);
    }
  }
});

Deno.test({
  name:
    "bundle: DKIM has at most 3 kB gzipped, alone or beside a mailer, with SHA-256 for bodies that are never held whole",
  sanitizeOps: false, // esbuild is a process of its own
  sanitizeResources: false,
  async fn() {
    const size = async (...lines: string[]) => {
      const { code } = await bundle({ script: lines.join("\n"), minify: true });
      return gzipSync(code, { level: 9 }).length;
    };
    const smtp = `export { denoConnector, smtpMailer } from "@holdfast/edge/smtp";`;
    const dkim = `export * from "@holdfast/edge/dkim";`;
    const added = await size(smtp, dkim) - await size(smtp);
    const alone = await size(dkim);
    report(`dkim: ${added} bytes gzipped beside a mailer, ${alone} alone`);
    assert(added <= 2_500 && alone <= 3_000, `${added} and ${alone} bytes`);
  },
});
