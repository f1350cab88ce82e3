/**
 * How values become strings and come back, the same on every engine: a one-letter tag and the rest. `s` is an
 * exact string, `b` exact bytes in base64, `j` JSON (a counter is a JSON integer).
 */
import { HoldfastError } from "./errors.ts";

/**
 * Writes a value: strings and `Uint8Array` exactly, everything else as JSON.
 *
 * @throws {TypeError} when the value has no JSON form (a function, `undefined`, a cycle, a bigint)
 */
export function encodeValue(value: unknown): string {
  if (typeof value === "string") return "s" + value;
  if (value instanceof Uint8Array) return "b" + bytesToBase64(value);
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
  return "j" + json;
}

/**
 * Reads back what {@linkcode encodeValue} wrote.
 *
 * @throws {HoldfastError} `corrupt-record` when it is nothing of ours
 */
export function decodeValue(text: string): unknown {
  try {
    switch (text.charCodeAt(0)) {
      case 115: // s
        return text.slice(1);
      case 106: // j
        return JSON.parse(text.slice(1));
      case 98: // b
        return base64ToBytes(text.slice(1));
    }
  } catch {
    // the cause would quote the value
  }
  throw new HoldfastError(
    "corrupt-record",
    "Cannot read the stored value as it was not written by this codec",
  );
}

/** Base64 of bytes, in chunks that never overflow the stack. */
export function bytesToBase64(bytes: Uint8Array): string {
  let binary = "";
  for (let i = 0; i < bytes.length; i += 0x8000) {
    binary += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
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
