/** SHA-256 of bytes that come in pieces: Web Crypto hashes only what is held as a whole. */

/**
 * The first 32 bits of the fractional parts of a root of the first primes, as FIPS 180-4 defines its
 * constants.
 */
function fractions(root: 2 | 3, count: number): Uint32Array {
  const values = new Uint32Array(count);
  for (let candidate = 2, n = 0; n < count; candidate++) {
    let prime = true;
    for (let divisor = 2; divisor * divisor <= candidate; divisor++) prime &&= candidate % divisor !== 0;
    if (prime) values[n++] = fraction(candidate, root);
  }
  return values;
}

/** Exact, by integers: doubles have too few digits for a cube root's 32 bits to be certain. */
function fraction(value: number, root: 2 | 3): number {
  const scaled = BigInt(value) << BigInt(32 * root);
  let low = 0n;
  for (let bit = 1n << 36n; bit > 0n; bit >>= 1n) {
    const next = low | bit;
    if ((root === 2 ? next * next : next * next * next) <= scaled) low = next;
  }
  return Number(BigInt.asUintN(32, low));
}

let constants: Uint32Array | undefined;

/**
 * The hash in hexadecimal digits.
 *
 * @see https://csrc.nist.gov/pubs/fips/180-4/upd1/final
 */
export function sha256Hex(chunks: Iterable<Uint8Array>): string {
  const state = fractions(2, 8);
  const block = new Uint8Array(64);
  let used = 0;
  let length = 0;
  for (const chunk of chunks) {
    length += chunk.length;
    let at = 0;
    if (used > 0) {
      at = Math.min(64 - used, chunk.length);
      block.set(chunk.subarray(0, at), used);
      used += at;
      if (used < 64) continue;
      compress(state, block, 0);
      used = 0;
    }
    for (; at + 64 <= chunk.length; at += 64) compress(state, chunk, at);
    block.set(chunk.subarray(at));
    used = chunk.length - at;
  }
  // The padding: one bit, zeros, and the length in bits at the end of the last block.
  const last = new Uint8Array(used < 56 ? 64 : 128);
  last.set(block.subarray(0, used));
  last[used] = 0x80;
  new DataView(last.buffer).setBigUint64(last.length - 8, BigInt(length) * 8n);
  for (let at = 0; at < last.length; at += 64) compress(state, last, at);
  return Array.from(state, (word) => word.toString(16).padStart(8, "0")).join("");
}

const schedule = new Int32Array(64);

/** One block of 64 bytes. The names of the variables are those of the standard. */
function compress(state: Uint32Array, bytes: Uint8Array, at: number): void {
  const k = constants ??= fractions(3, 64);
  const w = schedule;
  for (let t = 0; t < 16; t++) {
    const i = at + 4 * t;
    w[t] = bytes[i]! << 24 | bytes[i + 1]! << 16 | bytes[i + 2]! << 8 | bytes[i + 3]!;
  }
  for (let t = 16; t < 64; t++) {
    const x = w[t - 15]!;
    const y = w[t - 2]!;
    const s0 = (x >>> 7 | x << 25) ^ (x >>> 18 | x << 14) ^ x >>> 3;
    const s1 = (y >>> 17 | y << 15) ^ (y >>> 19 | y << 13) ^ y >>> 10;
    w[t] = w[t - 16]! + s0 + w[t - 7]! + s1 | 0;
  }
  let a = state[0]!, b = state[1]!, c = state[2]!, d = state[3]!;
  let e = state[4]!, f = state[5]!, g = state[6]!, h = state[7]!;
  for (let t = 0; t < 64; t++) {
    const s1 = (e >>> 6 | e << 26) ^ (e >>> 11 | e << 21) ^ (e >>> 25 | e << 7);
    const t1 = h + s1 + (e & f ^ ~e & g) + k[t]! + w[t]! | 0;
    const s0 = (a >>> 2 | a << 30) ^ (a >>> 13 | a << 19) ^ (a >>> 22 | a << 10);
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
