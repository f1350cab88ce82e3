/**
 * Reads an Idempotency-Key header: a Structured Field Item whose value is a String. Real clients also send the bare
 * text; both are the same key unless `strict`. Parameters are ignored.
 *
 * @see https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
 * @see https://www.rfc-editor.org/rfc/rfc9651#name-parsing-a-string
 */
export function readIdempotencyKey(header: string, strict: boolean): string | undefined {
  const text = header.trim();
  const quoted = /^"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"\s*(?:;[\x20-\x2b\x2d-\x7e]*)?$/.exec(text);
  let key: string | undefined;
  if (quoted) key = quoted[1]!.replace(/\\(["\\])/g, "$1");
  else if (
    !strict && /^[\x21\x23-\x2b\x2d-\x39\x3c-\x7e][\x21\x23-\x2b\x2d-\x7e]*$/.test(text) &&
    !/^:.*:$/.test(text)
  ) key = text;
  return key === undefined || key === "" || key.length > 255 ? undefined : key;
}
