/**
 * Reads an Idempotency-Key header: a Structured Field Item whose value is a String. Real clients also send the bare
 * text; both are the same key unless `strict`. Parameters are ignored. Two headers arrive as a list, and no list is a key; nor
 * is what a structured field reads as a number, a date, a boolean or bytes.
 *
 * @see https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
 * @see https://www.rfc-editor.org/rfc/rfc9651#name-parsing-a-string
 */
export function readIdempotencyKey(header: string, strict: boolean): string | undefined {
  const text = header.trim();
  const key = quoted(text) ?? (strict ? undefined : bare(text));
  return key === undefined || key === "" || key.length > 255 ? undefined : key;
}

const QUOTED = /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)" *(?:;[\x20-\x2b\x2d-\x7e]*)?$/;
const BARE = /^([\x21\x23-\x2b\x2d-\x3a\x3c-\x7e]+) *(?:;[\x20-\x2b\x2d-\x7e]*)?$/;
const ANOTHER_TYPE = /^(@?-?\d+(\.\d+)?|\?[01]|:.*:)$/;

function quoted(text: string): string | undefined {
  return QUOTED.exec(text)?.[1]?.replace(/\\(["\\])/g, "$1");
}

function bare(text: string): string | undefined {
  const key = BARE.exec(text)?.[1];
  return key === undefined || ANOTHER_TYPE.test(key) ? undefined : key;
}
