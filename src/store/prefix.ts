/**
 * The form in which a store's prefix stands before its keys in an engine that has one flat space of names.
 * Percents, slashes and colons are escaped in the prefix, so the first colon ends it: `tenant-1` and
 * `tenant-10` never meet, whatever their keys.
 */

/** The longest prefix in UTF-8 bytes, escaped: what remains for keys is the engine's limit less this. */
const MAX_PREFIX_BYTES = 256;

/** A prefix as an engine writes it, without the colon that ends it, and how many bytes it takes. */
export interface StorePrefix {
  /** The escaped prefix. */
  readonly text: string;
  /** Its length in UTF-8. */
  readonly bytes: number;
}

/**
 * Escapes a store's prefix.
 *
 * @throws {TypeError} when it is not a well-formed string
 * @throws {RangeError} when it takes more than 256 bytes
 */
export function storePrefix(prefix: unknown): StorePrefix {
  const text = wellFormed(prefix).replace(/[%/:]/g, encodeURIComponent);
  return { text, bytes: checkedLength(text) };
}

/**
 * The prefix of an engine that keeps it apart from its keys.
 *
 * @throws {TypeError | RangeError} like {@linkcode storePrefix}
 */
export function checkPrefix(prefix: unknown): string {
  const text = wellFormed(prefix);
  checkedLength(text);
  return text;
}

function wellFormed(prefix: unknown): string {
  if (typeof prefix === "string" && prefix.isWellFormed()) return prefix;
  throw new TypeError(
    `Cannot make a store as 'prefix' must be a well-formed string: current type is ${typeof prefix}`,
  );
}

function checkedLength(text: string): number {
  const bytes = new TextEncoder().encode(text).length;
  if (bytes <= MAX_PREFIX_BYTES) return bytes;
  throw new RangeError(
    `Cannot make a store as 'prefix' must take at most ${MAX_PREFIX_BYTES} bytes: current value takes ${bytes}`,
  );
}
