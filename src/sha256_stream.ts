/** SHA-256 of bytes that come in pieces: Web Crypto hashes only what is held as a whole. */
import { fractions } from "./sha256_constants.ts";

let constants: Int32Array | undefined;

/** The hash in hexadecimal digits. */
export function sha256Hex(chunks: Iterable<Uint8Array>): string {
  return Array.from(sha256Bytes(chunks), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * The 32 bytes of the hash.
 *
 * @see https://csrc.nist.gov/pubs/fips/180-4/upd1/final
 */
export function sha256Bytes(chunks: Iterable<Uint8Array>): Uint8Array {
  const state = fractions(8, Math.sqrt);
  const block = new Uint8Array(64);
  let length = 0;
  const add = (byte: number) => {
    block[length++ % 64] = byte;
    if (length % 64 === 0) compress(state, block);
  };
  for (const chunk of chunks) for (let i = 0; i < chunk.length; i++) add(chunk[i]!);
  // The padding: one bit, zeros, and the length in bits at the end of the last block.
  const bits = length * 8;
  add(0x80);
  while (length % 64 !== 56) add(0);
  for (let power = 56; power >= 0; power -= 8) add(bits / 2 ** power);
  const hash = new DataView(new ArrayBuffer(32));
  state.forEach((word, i) => hash.setInt32(4 * i, word));
  return new Uint8Array(hash.buffer);
}

const schedule = /* @__PURE__ */ new Int32Array(64);

/** The word with its bits moved in a circle to the right. */
function rotated(word: number, bits: number): number {
  return word >>> bits | word << (32 - bits);
}

/** One block of 64 bytes. The names of the variables are those of the standard. */
function compress(state: Int32Array, bytes: Uint8Array): void {
  const k = constants ??= fractions(64, Math.cbrt);
  const w = schedule;
  for (let t = 0; t < 16; t++) {
    const i = 4 * t;
    w[t] = bytes[i]! << 24 | bytes[i + 1]! << 16 | bytes[i + 2]! << 8 | bytes[i + 3]!;
  }
  for (let t = 16; t < 64; t++) {
    const x = w[t - 15]!;
    const y = w[t - 2]!;
    const s0 = rotated(x, 7) ^ rotated(x, 18) ^ x >>> 3;
    const s1 = rotated(y, 17) ^ rotated(y, 19) ^ y >>> 10;
    w[t] = w[t - 16]! + s0 + w[t - 7]! + s1 | 0;
  }
  let a = state[0]!, b = state[1]!, c = state[2]!, d = state[3]!;
  let e = state[4]!, f = state[5]!, g = state[6]!, h = state[7]!;
  for (let t = 0; t < 64; t++) {
    const s1 = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25);
    const t1 = h + s1 + (e & f ^ ~e & g) + k[t]! + w[t]! | 0;
    const s0 = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22);
    h = g;
    g = f;
    f = e;
    e = d + t1 | 0;
    d = c;
    c = b;
    const majority = a & b ^ a & d ^ b & d; // of a, b and c before they moved
    b = a;
    a = t1 + s0 + majority | 0;
  }
  [a, b, c, d, e, f, g, h].forEach((word, i) => state[i]! += word);
}
