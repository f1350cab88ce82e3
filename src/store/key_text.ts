/**
 * A key without NUL, which many databases hold in no text: NUL is written as two U+0001, and U+0001 as U+0001
 * U+0002. The order of keys stays.
 */
export function escapeKey(key: string): string {
  // deno-lint-ignore no-control-regex
  return /[\0\u0001]/.test(key)
    ? key.replaceAll("\u0001", "\u0001\u0002").replaceAll("\0", "\u0001\u0001")
    : key;
}

/** The key that {@linkcode escapeKey} wrote. */
export function unescapeKey(key: string): string {
  // deno-lint-ignore no-control-regex
  return key.replace(/\u0001([\u0001\u0002])/g, (_, mark) => mark === "\u0001" ? "\0" : "\u0001");
}

/**
 * The least text beyond every text that begins with `prefix`, by code points; null when there is none. It is the
 * prefix with its last code point increased; those at its end that have no next one are cut.
 */
export function successor(prefix: string): string | null {
  const points = Array.from(prefix, (character) => character.codePointAt(0)!);
  while (points.at(-1) === 0x10ffff) points.pop();
  const last = points.pop();
  if (last === undefined) return null;
  // The code points after U+D7FF are surrogates, which UTF-8 does not have.
  return String.fromCodePoint(...points, last === 0xd7ff ? 0xe000 : last + 1);
}
