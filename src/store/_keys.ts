/**
 * Where a key lives in an engine: `room/inner/:key`. Slashes, colons and percents are escaped in room names, so
 * the first colon ends the path, rooms and keys can never meet, and a room's prefix holds just what is in it.
 */

/** The path of a namespace inside another. */
export function roomPath(path: string, name: string): string {
  if (typeof name !== "string" || name === "" || !name.isWellFormed()) {
    throw new TypeError("Cannot open the namespace as its name must be a non-empty, well-formed string");
  }
  return path + name.replace(/[%/:]/g, encodeURIComponent) + "/";
}

const encoder = new TextEncoder();

/** The key as the engine sees it. */
export function engineKey(path: string, key: string, maxBytes: number): string {
  if (typeof key !== "string" || key === "" || !key.isWellFormed()) {
    throw new TypeError("Cannot use the key as it must be a non-empty, well-formed string");
  }
  const full = path + ":" + key;
  // A code unit takes at most three bytes: only long keys need counting.
  if (full.length * 3 > maxBytes) {
    const bytes = encoder.encode(full).length;
    if (bytes > maxBytes) {
      throw new RangeError(
        `Cannot use the key as it must take at most ${maxBytes} bytes: current value is ${bytes}`,
      );
    }
  }
  return full;
}
