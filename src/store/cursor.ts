/**
 * The cursors of a store: the engine's own behind a checksum of what they continue. So a text that is no
 * cursor, was cut or belongs to another list is the same `TypeError` on every engine, before any I/O. The
 * checksum is no signature: a cursor that was forged with care reads nothing but keys of the same prefix.
 */

/** The cursor that a caller gets for an engine's. `list` names the engine, the namespace and the prefix. */
export function sealCursor(cursor: string, list: string): string {
  return checksum(list + "\0" + cursor) + "." + cursor;
}

/**
 * The engine's cursor.
 *
 * @throws {TypeError} when the text is no cursor of that list
 */
export function openCursor(cursor: unknown, list: string): string | undefined {
  if (cursor === undefined) return undefined;
  if (typeof cursor === "string") {
    const dot = cursor.indexOf(".");
    const own = cursor.slice(dot + 1);
    if (dot > 0 && cursor.slice(0, dot) === checksum(list + "\0" + own)) return own;
  }
  throw badCursor();
}

/** The error for a cursor that an engine cannot read. */
export function badCursor(): TypeError {
  return new TypeError("Cannot list as 'cursor' must come from the page before, of the same prefix");
}

/** FNV-1a, 32 bits. */
function checksum(text: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash >>> 0).toString(36);
}
