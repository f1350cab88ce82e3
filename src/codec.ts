/**
 * How values become text and come back, the same on every engine. A string is itself. What is not begins with a control
 * character: a tab and JSON (which JSON.parse reads as it is), or U+0001 and bytes in base64. A string that begins with a
 * control character of its own is kept behind U+0002.
 */
import { HoldfastError } from "./errors.ts";

/**
 * Writes a value: strings and `Uint8Array` exactly, everything else as JSON.
 *
 * @throws {TypeError} when the value has no JSON form (a function, `undefined`, a cycle, a bigint)
 */
export function encodeValue(value: unknown): string {
  if (typeof value === "string") return value.charCodeAt(0) < 32 ? "\u0002" + value : value;
  if (value instanceof Uint8Array) return "\u0001" + bytesToBase64(value);
  let json: string | undefined;
  try {
    json = JSON.stringify(value);
  } catch (cause) {
    throw new TypeError(
      `Cannot store the value as JSON must be able to hold it: current type is ${typeof value}`,
      {
        cause,
      },
    );
  }
  if (json === undefined) {
    throw new TypeError(
      `Cannot store the value as JSON must be able to hold it: current type is ${typeof value}`,
    );
  }
  return "\t" + json;
}

/**
 * Reads back what {@linkcode encodeValue} wrote.
 *
 * @throws {HoldfastError} `corrupt-record` when it is nothing of ours
 */
export function decodeValue(text: string): unknown {
  const tag = text.charCodeAt(0);
  if (!(tag < 32)) return text; // an empty text has none
  try {
    if (tag === 9) return JSON.parse(text);
    if (tag === 1) return base64ToBytes(text.slice(1));
    if (tag === 2) return text.slice(1);
  } catch {
    // the cause would quote the value
  }
  throw new HoldfastError(
    "corrupt-record",
    "Cannot read the stored value as it was not written by this codec",
  );
}

/** Base64 of bytes, in chunks that never overflow the stack where the runtime has none of its own. */
export function bytesToBase64(bytes: Uint8Array): string {
  const native = (bytes as { toBase64?: () => string }).toBase64; // newer runtimes; far faster on files
  if (native) return native.call(bytes);
  let binary = "";
  // Spreading the bytes would take Node sixty times as long.
  for (let i = 0; i < bytes.length; i += 0x2000) {
    binary += String.fromCharCode.apply(null, bytes.subarray(i, i + 0x2000) as unknown as number[]);
  }
  return btoa(binary);
}

/** The bytes a base64 text stands for. */
export function base64ToBytes(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** Base64 in the URL alphabet, without padding. */
export function bytesToBase64Url(bytes: Uint8Array): string {
  return bytesToBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
