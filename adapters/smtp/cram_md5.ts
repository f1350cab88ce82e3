import { concatBytes } from "../../src/read_stream.ts";
import { runSasl, type SmtpMechanism } from "./sasl.ts";

/**
 * CRAM-MD5: for old servers that take nothing better. The password does not travel, but MD5 is broken, and
 * the server must keep the password itself: prefer an encrypted connection with any other mechanism.
 *
 * @see https://www.rfc-editor.org/rfc/rfc2195
 * @category Mailers
 * @example
 * ```ts
 * import { cramMd5, denoConnector, smtpMailer } from "@holdfast/edge/smtp";
 * const auth = { username: "shop", password: "secret", mechanism: cramMd5 };
 * const mailer = smtpMailer({ connector: denoConnector(), host: "smtp.example.com", auth });
 * if (mailer.name !== "smtp") throw new Error("unexpected");
 * ```
 */
export const cramMd5: SmtpMechanism = {
  name: "CRAM-MD5",
  authenticate({ username, secret }, send) {
    let answered = false;
    const respond = (challenge: string) => {
      if (answered) return undefined;
      answered = true;
      return `${username} ${hmacMd5(secret, challenge)}`;
    };
    return runSasl("CRAM-MD5", { respond }, send);
  },
};

/** HMAC with MD5 in hexadecimal digits (RFC 2104). */
export function hmacMd5(secret: string, text: string): string {
  const encoder = new TextEncoder();
  let key = encoder.encode(secret);
  if (key.length > 64) key = md5(key);
  const pad = (byte: number) => Uint8Array.from({ length: 64 }, (_, i) => (key[i] ?? 0) ^ byte);
  const inner = md5(concatBytes([pad(0x36), encoder.encode(text)]));
  return Array.from(md5(concatBytes([pad(0x5c), inner])), (byte) => byte.toString(16).padStart(2, "0")).join(
    "",
  );
}

/** Rotations of the four rounds (RFC 1321, 3.4). */
const ROTATIONS = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]] as const;

/** MD5, which Web Crypto does not have. */
export function md5(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const blocks = (bytes.length + 8 >> 6) + 1;
  const padded = new DataView(new ArrayBuffer(blocks * 64));
  bytes.forEach((byte, i) => padded.setUint8(i, byte));
  padded.setUint8(bytes.length, 0x80);
  padded.setBigUint64(blocks * 64 - 8, BigInt(bytes.length) * 8n, true);
  const state = Uint32Array.of(0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476);
  for (let block = 0; block < blocks; block++) {
    let [a, b, c, d] = state as unknown as [number, number, number, number];
    for (let i = 0; i < 64; i++) {
      const round = i >> 4;
      const [mix, word] = round === 0
        ? [(b & c) | (~b & d), i]
        : round === 1
        ? [(d & b) | (~d & c), (5 * i + 1) % 16]
        : round === 2
        ? [b ^ c ^ d, (3 * i + 5) % 16]
        : [c ^ (b | ~d), 7 * i % 16];
      const constant = Math.floor(Math.abs(Math.sin(i + 1)) * 2 ** 32);
      const sum = a + mix + constant + padded.getUint32(block * 64 + word * 4, true) | 0;
      const turn = ROTATIONS[round]![i % 4]!;
      [a, d, c, b] = [d, c, b, b + (sum << turn | sum >>> 32 - turn) | 0];
    }
    state[0]! += a;
    state[1]! += b;
    state[2]! += c;
    state[3]! += d;
  }
  const digest = new DataView(new ArrayBuffer(16));
  state.forEach((word, i) => digest.setUint32(i * 4, word, true));
  return new Uint8Array(digest.buffer);
}
