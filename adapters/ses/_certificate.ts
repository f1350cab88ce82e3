/** The public key in an X.509 certificate, in the form that Web Crypto imports. */
import { base64ToBytes } from "../../src/codec.ts";

/** A value of DER: where it begins with its head, where its content begins, and where it ends. */
interface Value {
  readonly tag: number;
  readonly start: number;
  readonly content: number;
  readonly end: number;
}

/** The SubjectPublicKeyInfo of a certificate in PEM; `undefined` when it is none. */
export function publicKeyInfo(pem: string): Uint8Array<ArrayBuffer> | undefined {
  const [, text] = /-----BEGIN CERTIFICATE-----([\sA-Za-z\d+/=]+)-----END CERTIFICATE-----/.exec(pem) ?? [];
  if (text === undefined) return undefined;
  try {
    const bytes = base64ToBytes(text.replace(/\s/g, ""));
    // Certificate ::= SEQUENCE { tbsCertificate SEQUENCE { [0] version, serialNumber, signature, issuer,
    // validity, subject, subjectPublicKeyInfo, … }, … } (RFC 5280, 4.1)
    const tbs = valueAt(bytes, valueAt(bytes, 0).content);
    let field = valueAt(bytes, tbs.content);
    if (field.tag === 0xa0) field = valueAt(bytes, field.end); // the version is optional
    for (let i = 0; i < 5; i++) field = valueAt(bytes, field.end);
    return field.tag === 0x30 && field.end <= tbs.end ? bytes.slice(field.start, field.end) : undefined;
  } catch {
    return undefined;
  }
}

function valueAt(bytes: Uint8Array, start: number): Value {
  const first = bytes[start + 1]!;
  const long = first > 127 ? first & 127 : 0;
  if (first === 128 || long > 3) throw new RangeError("no length of DER");
  let length = long === 0 ? first : 0;
  for (let i = 0; i < long; i++) length = length << 8 | bytes[start + 2 + i]!;
  const content = start + 2 + long;
  if (!(content + length <= bytes.length)) throw new RangeError("a value beyond the end");
  return { tag: bytes[start]!, start, content, end: content + length };
}
