import { parseItem } from "./structured_fields.ts";

/** The longest key, in characters. */
const MAX_LENGTH = 255;

/**
 * Reads an Idempotency-Key header: an Item of a structured field whose value is a String. Parameters are
 * checked and ignored. Many clients send the bare text; unless `strict`, it is taken whole and is the same
 * key as the quoted text. A bare text that could be read in another way is refused: with a semicolon, a
 * comma, a space or a quote in it, or as a number, a date, a boolean or bytes.
 *
 * @returns `undefined` when the header holds no key of 1 to 255 characters
 * @see https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
 * @see https://www.rfc-editor.org/rfc/rfc9651#name-parsing-a-string
 */
export function readIdempotencyKey(header: string, strict: boolean): string | undefined {
  const key = quoted(header) ?? (strict ? undefined : bare(header));
  return key === undefined || key === "" || key.length > MAX_LENGTH ? undefined : key;
}

/** Visible ASCII but the quote, the comma and the semicolon; spaces around it belong to the header. */
const BARE = /^ *([\x21\x23-\x2b\x2d-\x3a\x3c-\x7e]+) *$/;
const ANOTHER_TYPE = /^(@?-?\d+(\.\d+)?|\?[01]|:.*:)$/;

function quoted(header: string): string | undefined {
  const item = parseItem(header);
  return item?.type === "string" ? item.value : undefined;
}

function bare(header: string): string | undefined {
  const key = BARE.exec(header)?.[1];
  return key === undefined || ANOTHER_TYPE.test(key) ? undefined : key;
}

/** The fault of a header that {@linkcode readIdempotencyKey} refuses, and the remedy, for its client. */
export function idempotencyKeyProblem(header: string, strict: boolean): string {
  const text = header.trim();
  const key = quoted(text) ?? text;
  if (key === "" || key.length > MAX_LENGTH) {
    return `The key must have 1 to ${MAX_LENGTH} characters, such as a UUID: this one has ${key.length}`;
  }
  if (!/^[\x20-\x7e]*$/.test(text)) return "The key must be of printable ASCII characters, such as a UUID";
  const quote = 'send it in double quotes, as Idempotency-Key: "order-17"';
  if (text.startsWith('"')) {
    return "The header must hold one quoted string and no more, with a backslash before quotes and backslashes " +
      'in it, as Idempotency-Key: "order-17"';
  }
  if (ANOTHER_TYPE.test(text)) {
    return `A key without quotes must not read as a number, date, boolean or bytes: ${quote}`;
  }
  if (!BARE.test(text)) {
    return `A key without quotes must have no space, quote, comma or semicolon, and there is one key: ${quote}`;
  }
  return strict ? `The key must be quoted: ${quote}` : `The key cannot be read: ${quote}`;
}
