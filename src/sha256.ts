/**
 * SHA-256 at once. Web Crypto's digest is asynchronous, which costs a short text many times what the hash
 * itself takes; a test holds this one to it.
 *
 * @see https://csrc.nist.gov/pubs/fips/180-4/upd1/final
 */
import { base64UrlCode, sha256 as sha256OfRuntime } from "./secret.ts";
import { concatBytes } from "./read_stream.ts";
import { fractions } from "./sha256_constants.ts";

const ROUNDS = /* @__PURE__ */ fractions(64, Math.cbrt);
const START = /* @__PURE__ */ fractions(8, Math.sqrt);
const encoder = /* @__PURE__ */ new TextEncoder();
// A call is synchronous, so all calls share one working memory.
const schedule = /* @__PURE__ */ new Int32Array(64);
const state = /* @__PURE__ */ new Int32Array(8);
const shortText = /* @__PURE__ */ new Uint8Array(512);

/** Takes in the block of which the schedule has the first 16 words. */
function absorb(): void {
  const w = schedule;
  for (let i = 16; i < 64; i++) {
    const far = w[i - 15]!;
    const near = w[i - 2]!;
    const small0 = ((far >>> 7) | (far << 25)) ^ ((far >>> 18) | (far << 14)) ^ (far >>> 3);
    const small1 = ((near >>> 17) | (near << 15)) ^ ((near >>> 19) | (near << 13)) ^ (near >>> 10);
    w[i] = (w[i - 16]! + small0 | 0) + (w[i - 7]! + small1 | 0) | 0;
  }
  let a = state[0]!, b = state[1]!, c = state[2]!, d = state[3]!;
  let e = state[4]!, f = state[5]!, g = state[6]!, h = state[7]!;
  for (let i = 0; i < 64; i++) {
    const large1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const choice = g ^ (e & (f ^ g));
    const first = ((h + large1 | 0) + (choice + ROUNDS[i]! | 0) | 0) + w[i]! | 0;
    const large0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const second = large0 + ((a & b) | (c & (a | b))) | 0;
    h = g;
    g = f;
    f = e;
    e = d + first | 0;
    d = c;
    c = b;
    b = a;
    a = first + second | 0;
  }
  state[0]! += a;
  state[1]! += b;
  state[2]! += c;
  state[3]! += d;
  state[4]! += e;
  state[5]! += f;
  state[6]! += g;
  state[7]! += h;
}

/** The hash of bytes, or of a text as UTF-8, in the URL alphabet of base64. */
export function sha256(data: string | Uint8Array): string {
  return typeof data === "string" ? hashText(data) : hashBytes(data, data.length);
}

/**
 * So many bytes or characters are hashed at once: for more the runtime's hash is faster, although a promise
 * comes with it.
 */
const SHORT = 2048;

/**
 * SHA-256 in the URL alphabet, the fastest way: at once where it is of little, by Web Crypto where it is of
 * more.
 */
export function sha256OfAny(data: string | Uint8Array<ArrayBuffer>): string | Promise<string> {
  return data.length <= SHORT ? sha256(data) : sha256OfRuntime(data);
}

/** The same of a text and the bytes behind it. */
export function sha256OfBoth(text: string, bytes: Uint8Array): string | Promise<string> {
  const length = text.length + bytes.length;
  if (length <= shortText.length && isPut(text)) {
    shortText.set(bytes, text.length);
    return hashBytes(shortText, length);
  }
  return sha256OfAny(concatBytes([encoder.encode(text), bytes]));
}

function hashText(text: string): string {
  if (text.length <= shortText.length && isPut(text)) return hashBytes(shortText, text.length);
  const bytes = encoder.encode(text);
  return hashBytes(bytes, bytes.length);
}

/**
 * Puts an ASCII text, as nearly all are, where it is hashed; answers `false` for another. An encoder of the
 * runtime costs more than this copy.
 */
function isPut(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 127) return false;
    shortText[i] = code;
  }
  return true;
}

function hashBytes(bytes: Uint8Array, length: number): string {
  state.set(START);
  const words = length >>> 2;
  let next = 0;
  for (let word = 0; word < words; word++) {
    const i = 4 * word;
    schedule[next++] = (bytes[i]! << 24) | (bytes[i + 1]! << 16) | (bytes[i + 2]! << 8) | bytes[i + 3]!;
    if (next === 16) {
      absorb();
      next = 0;
    }
  }
  // The padding: a one, zeros, and the number of bits in the last two words of a block.
  let last = 0x80 << (24 - 8 * (length & 3));
  for (let i = 4 * words; i < length; i++) last |= bytes[i]! << (24 - 8 * (i & 3));
  schedule[next++] = last;
  if (next > 14) {
    schedule.fill(0, next, 16);
    absorb();
    next = 0;
  }
  schedule.fill(0, next, 14);
  schedule[14] = Math.floor(length / 2 ** 29);
  schedule[15] = length << 3;
  absorb();
  return stateText();
}

/** The state in base64, in the URL alphabet. */
function stateText(): string {
  const codes = new Array<number>(43);
  for (let i = 0; i < 43; i++) {
    // Six bits that may begin in one word and end in the next one; behind the last word there are zeros.
    const at = (6 * i) >> 5;
    const from = 6 * i & 31;
    codes[i] = base64UrlCode(
      from <= 26 ? state[at]! >>> (26 - from) : state[at]! << (from - 26) | (state[at + 1]! >>> (58 - from)),
    );
  }
  return String.fromCharCode(...codes);
}
