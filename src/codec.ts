/**
 * The text form of values, the same on every engine. The first character tells the form:
 *
 * - none below U+0020: the string itself;
 * - a tab: JSON, which `JSON.parse` reads with the tab, as that is white space;
 * - U+0001: bytes in base64;
 * - U+0002: a string that begins with a control character of its own.
 */
import { HoldfastError } from "./errors.ts";

/**
 * The deepest nesting that is stored. A cycle is deeper than any bound, so it ends here too; runtimes keep a
 * stack for several times as much.
 */
const MAX_DEPTH = 500;

/**
 * Writes a value as text: strings and `Uint8Array` exactly, everything else as JSON.
 *
 * A value that JSON cannot hold is refused at any depth. Three things come back in another form: an object
 * with a `toJSON` (a `Date`, a `URL`) as what that answers, `-0` as `0`, and a property that is `undefined`
 * not at all. A subclass of `Uint8Array` comes back as a plain one.
 *
 * @throws {TypeError} for a bigint, NaN, Infinity, a function, a symbol, `undefined` (but as a property), a
 *   Map, a Set, a Promise,
 * an Error, an ArrayBuffer, every other instance of a class without `toJSON`, a cycle, and nesting beyond 500
 * levels
 */
export function encodeValue(value: unknown): string {
  if (typeof value === "string") {
    // JSON escapes lone surrogates, which UTF-8 cannot hold: only so do they reach every engine unchanged.
    if (!value.isWellFormed()) return "\t" + JSON.stringify(value);
    return value.charCodeAt(0) < 32 ? "\u0002" + value : value;
  }
  if (value instanceof Uint8Array) return "\u0001" + bytesToBase64(value);
  const fault = faultOf(value, 0);
  if (fault !== undefined) throw refused(fault);
  const json: string | undefined = JSON.stringify(value);
  if (json === undefined) throw refused("undefined"); // a `toJSON` that answers otherwise the second time
  return "\t" + json;
}

/** The error for a value of that type; it names the type and never the value or where it lies. */
function refused(type: string): TypeError {
  return new TypeError(`Cannot store the value as JSON must be able to hold it: it is or has ${type}`);
}

/** Names what JSON cannot hold of a value that is not a property, or `undefined` when it holds all of it. */
function faultOf(value: unknown, depth: number): string | undefined {
  switch (typeof value) {
    case "string":
    case "boolean":
      return undefined;
    case "number":
      return Number.isFinite(value) ? undefined : String(value);
    case "object":
      return value === null ? undefined : objectFaultOf(value, depth);
    case "undefined":
      return "undefined";
  }
  return `a ${typeof value}`;
}

function objectFaultOf(value: object, depth: number): string | undefined {
  if (depth > MAX_DEPTH) return `a cycle, or more than ${MAX_DEPTH} levels`;
  if (Array.isArray(value)) {
    // By index: a hole is `undefined` and would become null.
    for (let i = 0; i < value.length; i++) {
      const fault = faultOf(value[i], depth + 1);
      if (fault !== undefined) return fault;
    }
    return undefined;
  }
  if (typeof (value as { toJSON?: unknown }).toJSON === "function") return jsonFaultOf(value, depth);
  if (!isPlain(value)) return `an instance of ${nameOf(value)}`;
  const properties = value as Record<string, unknown>;
  // This loop visits inherited properties too, which JSON leaves out, and costs half of Object.keys().
  for (const name in properties) {
    const property = properties[name];
    if (typeof property === "string" || property === undefined) continue;
    const fault = faultOf(property, depth + 1);
    if (fault !== undefined && Object.hasOwn(properties, name)) return fault;
  }
  return undefined;
}

/** `JSON.stringify` does not call `toJSON` on the result of `toJSON`. */
function jsonFaultOf(value: object, depth: number): string | undefined {
  // `Buffer` has one, and so its bytes would come back as an object.
  if (value instanceof Uint8Array) return "bytes inside another value";
  if (value instanceof Date && Number.isNaN(value.getTime())) return "an invalid Date";
  const json: unknown = (value as { toJSON(key: string): unknown }).toJSON("");
  if (json === value) return isPlain(value) ? undefined : `an instance of ${nameOf(value)}`;
  return faultOf(json, depth + 1);
}

/** Whether an object is a literal: of this realm, of another one, or without a prototype. */
function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null || Object.getPrototypeOf(prototype) === null;
}

function nameOf(value: object): string {
  const { name } = Object(value.constructor);
  return typeof name === "string" && name !== "" ? name : "a class";
}

/**
 * Reads back what {@linkcode encodeValue} wrote.
 *
 * @throws {HoldfastError} `corrupt-record` when it was not written by this codec
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

/** Base64 of bytes, in chunks that never overflow the stack where the runtime has no method of its own. */
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

/** The bytes of a base64 text. */
export function base64ToBytes(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** The bytes of base64 in the URL alphabet, or in the other one; throws where the text is neither. */
export function base64UrlToBytes(text: string): Uint8Array<ArrayBuffer> {
  return base64ToBytes(text.replaceAll("-", "+").replaceAll("_", "/"));
}

/** Base64 in the URL alphabet, without padding. */
export function bytesToBase64Url(bytes: Uint8Array): string {
  return bytesToBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
