import { base64ToBytes, bytesToBase64 } from "../../src/codec.ts";
import type { MimeBuilder, MimeMessage } from "../../src/mail/mime.ts";
import { concatBytes } from "../../src/read_stream.ts";
import { sha256Bytes } from "../../src/sha256_stream.ts";
import { checkNames, type OptionNames } from "../../src/validate.ts";
import { headerFields, relaxedBody, relaxedHeader } from "./_canonical.ts";

/**
 * A key, and the name of its public half in DNS: `<selector>._domainkey.<domain>`.
 *
 * @category Mail
 */
export interface DkimKey {
  /** The domain that signs: that of `from`, or one above it, for DMARC to count it. */
  readonly domain: string;
  /** The key's name within the domain. */
  readonly selector: string;
  /**
   * The private key: RSASSA-PKCS1-v1_5 with SHA-256 and at least 1024 bits, or Ed25519. {@linkcode
   * importDkimKey} reads one from PEM.
   */
  readonly privateKey: CryptoKey;
}

/**
 * Options of {@linkcode dkimSigned}.
 *
 * @category Mail
 */
export interface DkimOptions {
  /** The keys; each makes a signature of its own. Ed25519 goes beside RSA: not every receiver knows it. */
  readonly keys: readonly DkimKey[];
  /**
   * The names of the headers to sign; those that a message has. Leave out what a service on the way replaces:
   * SES sets `Date` and `Message-ID` anew.
   * @default {the headers that say what a message is, and those of lists}
   */
  readonly headers?: readonly string[] | undefined;
  /**
   * Whether a header that is added on the way breaks the signature, also one that the message did not have.
   * @default {true}
   */
  readonly oversign?: boolean | undefined;
}

const TASK = "sign with DKIM";
const OPTIONS = { keys: true, headers: true, oversign: true } satisfies OptionNames<DkimOptions>;
const KEY = { domain: true, selector: true, privateKey: true } satisfies OptionNames<DkimKey>;

/** RFC 6376, 5.4.1, and the headers of one-click unsubscription, which RFC 8058 wants signed. */
const HEADERS = (
  "From,To,Cc,Reply-To,Subject,Date,Message-ID,In-Reply-To,References,MIME-Version,Content-Type," +
  "Content-Transfer-Encoding,List-Id,List-Unsubscribe,List-Unsubscribe-Post"
).split(",");

/**
 * A builder of messages that signs what another one built: hand it to `smtpMailer`, `sesMailer` or
 * `mailgunMailer` as `mime`. Signatures are relaxed/relaxed with `rsa-sha256` or `ed25519-sha256`. Files are
 * read and hashed piece by piece, never held in their encoded form.
 *
 * @throws {TypeError} when an option is not valid
 * @see https://www.rfc-editor.org/rfc/rfc6376
 * @see https://www.rfc-editor.org/rfc/rfc8463
 * @category Mail
 * @example
 * ```ts
 * import { dkimSigned } from "@holdfast/edge/dkim";
 * import { buildMime } from "@holdfast/edge/mail";
 * const { privateKey } = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]) as CryptoKeyPair;
 * const mime = dkimSigned(buildMime, { keys: [{ domain: "example.com", selector: "2026", privateKey }] });
 * // smtpMailer({ …, mime })
 * const message = { from: "shop@example.com", to: "jane@example.com", subject: "Hello", text: "Hello" };
 * const text = new TextDecoder().decode((await mime(message)).bytes);
 * if (!text.startsWith("DKIM-Signature: v=1; a=ed25519-sha256;")) throw new Error("unexpected");
 * ```
 */
export function dkimSigned(builder: MimeBuilder, options: DkimOptions): MimeBuilder {
  need(typeof builder === "function", "it needs a builder, such as buildMime");
  checkNames(TASK, options ?? null, OPTIONS);
  const { keys, headers = HEADERS, oversign = true } = options;
  need(Array.isArray(keys) && keys.length > 0, "'keys' must be a list, not empty");
  need(Array.isArray(headers), "'headers' must be a list");
  const names = headers.map((name) => name.toLowerCase());
  need(names.includes("from"), "'headers' must include From");
  const signers = keys.map((key) => signerOf(key));
  return async (message, own) => {
    const mime = await builder(message, own);
    const { head, body } = split(mime);
    const bodyHash = bytesToBase64(sha256Bytes(relaxedBody(body)));
    const fields = selected(headerFields(head), names, oversign);
    const time = Math.floor((own?.date ?? new Date()).getTime() / 1000);
    const all = await Promise.all(signers.map((sign) => sign(fields, bodyHash, time)));
    return withHead(new TextEncoder().encode(all.join("")), mime);
  };
}

function need(right: unknown, why: string): void {
  if (!right) throw new TypeError(`Cannot ${TASK} as ${why}`);
}

/** The head of a message, and its body from there on. */
function split(mime: MimeMessage): { readonly head: string; readonly body: Iterable<Uint8Array> } {
  const chunks = mime.chunks()[Symbol.iterator]();
  let start = new Uint8Array();
  let end = -1;
  for (let next = chunks.next(); !next.done; next = chunks.next()) {
    start = concatBytes([start, next.value]);
    end = headEnd(start);
    if (end >= 0) break;
  }
  if (end < 0) end = start.length;
  return {
    head: new TextDecoder().decode(start.subarray(0, end)),
    body: (function* () {
      yield start.subarray(end + 4);
      yield* { [Symbol.iterator]: () => chunks };
    })(),
  };
}

/** The position of the empty line after the head, or -1. */
function headEnd(bytes: Uint8Array): number {
  for (let i = bytes.indexOf(13); i >= 0; i = bytes.indexOf(13, i + 1)) {
    if (bytes[i + 2] === 13 && bytes[i + 3] === 10) return i;
  }
  return -1;
}

/** The headers that are signed: their names for `h=`, and their canonical lines. */
interface Selected {
  readonly names: readonly string[];
  readonly lines: string;
}

/**
 * Every field of each name, the last one first, as verifiers take them; and each name once more, which stands
 * for the absence of a further one (RFC 6376, 5.4.2).
 */
function selected(
  fields: ReturnType<typeof headerFields>,
  names: readonly string[],
  oversign: boolean,
): Selected {
  const found = names.flatMap((name) => fields.filter((field) => field.name === name).reverse());
  return {
    names: names.flatMap((name) => [
      ...found.filter((field) => field.name === name).map(() => name),
      ...(oversign ? [name] : []),
    ]),
    lines: found.map(({ name, value }) => `${relaxedHeader(name, value)}\r\n`).join(""),
  };
}

type Signer = (fields: Selected, bodyHash: string, time: number) => Promise<string>;

/** Makes the header of one key. All that could fail is checked before. */
function signerOf(key: DkimKey): Signer {
  checkNames(`${TASK} with a key`, key ?? null, KEY);
  const { domain, selector, privateKey } = key;
  for (const name of [domain, selector]) {
    need(/^[\w-]+(?:\.[\w-]+)*$/.test(name ?? ""), "'domain' and 'selector' must be DNS names in ASCII");
  }
  const { name, hash, modulusLength } = Object(privateKey?.algorithm) as Partial<RsaHashedKeyAlgorithm>;
  const ed25519 = name === "Ed25519";
  const rsa = name === "RSASSA-PKCS1-v1_5" && hash?.name === "SHA-256" && modulusLength! >= 1024; // RFC 8301
  need(
    (ed25519 || rsa) && privateKey.usages.includes("sign"),
    "'privateKey' must sign: Ed25519, or RSASSA-PKCS1-v1_5 with SHA-256 and 1024 bits or more",
  );
  return async ({ names, lines }, bodyHash, time) => {
    const tags =
      `v=1; a=${ed25519 ? "ed25519" : "rsa"}-sha256; c=relaxed/relaxed; d=${domain};\r\n s=${selector};` +
      ` t=${time};\r\n h=${folded(names.join(":"), /[^:]+:?/g)};\r\n bh=${bodyHash};\r\n b=`;
    const signedText = new TextEncoder().encode(`${lines}${relaxedHeader("DKIM-Signature", tags)}`);
    // RFC 8463, 3: Ed25519 signs the hash, where RSA hashes by itself.
    const data = ed25519 ? await crypto.subtle.digest("SHA-256", signedText) : signedText;
    const signature = new Uint8Array(await crypto.subtle.sign(name!, privateKey, data));
    return `DKIM-Signature: ${tags}${folded(bytesToBase64(signature), /.{1,70}/g)}\r\n`;
  };
}

/** A long value in lines of about 70 characters, folded between what the expression finds. */
function folded(text: string, parts: RegExp): string {
  let line = "";
  let lines = "";
  for (const part of text.match(parts) ?? []) {
    if (line.length + part.length > 70) {
      lines += `${line}\r\n `;
      line = "";
    }
    line += part;
  }
  return lines + line;
}

/**
 * A private key from PEM in its PKCS #8 form (`BEGIN PRIVATE KEY`), RSA or Ed25519.
 *
 * @throws {TypeError} when it is none
 * @category Mail
 * @example
 * ```ts
 * import { importDkimKey } from "@holdfast/edge/dkim";
 * const pem = `-----BEGIN PRIVATE KEY-----
 * MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
 * -----END PRIVATE KEY-----`;
 * const privateKey = await importDkimKey(pem);
 * if (privateKey.algorithm.name !== "Ed25519") throw new Error("unexpected");
 * ```
 */
export async function importDkimKey(pem: string): Promise<CryptoKey> {
  const [, text] = /-----BEGIN PRIVATE KEY-----([\sA-Za-z\d+/=]+)-----END/.exec(pem) ?? [];
  need(
    text,
    "the key must be PKCS #8 in PEM: 'openssl pkcs8 -topk8 -nocrypt' makes it so",
  );
  const bytes = base64ToBytes(text!.replace(/\s/g, ""));
  // The identifier of Ed25519 is 1.3.101.112.
  const ed25519 = bytes.subarray(0, 16).join().includes("6,3,43,101,112");
  const algorithm = ed25519 ? { name: "Ed25519" } : { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
  try {
    return await crypto.subtle.importKey("pkcs8", bytes, algorithm, false, ["sign"]);
  } catch (cause) {
    throw new TypeError(`Cannot ${TASK} as the key is neither RSA nor Ed25519`, { cause });
  }
}

/** The message behind its signatures. */
function withHead(head: Uint8Array<ArrayBuffer>, mime: MimeMessage): MimeMessage {
  const { envelope, messageId, needsSmtpUtf8, eightBit } = mime;
  return {
    size: head.length + mime.size,
    *chunks() {
      yield head;
      yield* mime.chunks();
    },
    get bytes() {
      return concatBytes([head, mime.bytes]);
    },
    envelope,
    messageId,
    needsSmtpUtf8,
    eightBit,
  };
}
