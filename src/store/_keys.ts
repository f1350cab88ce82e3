/**
 * The name of a key in an engine. A key outside any namespace is itself; one in a namespace is
 * `/outer/inner/:key`. Slashes, colons and percents are escaped in names, so the first colon ends the path
 * and no two keys meet; a bare key that begins with a slash is kept apart as `/:` and the key.
 */

/** The path of a namespace inside another. */
export function namespacePath(path: string, name: string): string {
  if (typeof name !== "string" || name === "" || !name.isWellFormed()) {
    throw new TypeError("Cannot open the namespace as its name must be a non-empty, well-formed string");
  }
  return (path || "/") + name.replace(/[%/:]/g, encodeURIComponent) + "/";
}

const encoder = /* @__PURE__ */ new TextEncoder();

/**
 * Checks a key in the namespace at `path`.
 *
 * @throws {TypeError | RangeError} when it is no well-formed string, or too long for the engine
 */
export function checkKey(path: string, key: string, maxBytes: number): void {
  if (typeof key !== "string" || key === "" || !key.isWellFormed()) {
    throw new TypeError("Cannot use the key as it must be a non-empty, well-formed string");
  }
  // A code unit takes at most three bytes, and a colon or two come with the path: only long keys need
  // counting.
  if ((path.length + key.length + 2) * 3 > maxBytes) {
    const bytes = encoder.encode(enginePrefix(path, key)).length;
    if (bytes > maxBytes) {
      throw new RangeError(
        `Cannot use the key as it must take at most ${maxBytes} bytes: current value is ${bytes}`,
      );
    }
  }
}

/**
 * The key as the engine sees it. Bare keys stay the caller's own string, whose hash the runtime has already.
 */
export function engineKey(path: string, key: string, maxBytes: number): string {
  checkKey(path, key, maxBytes);
  return enginePrefix(path, key);
}

/** The beginning, as the engine sees it, of all keys that begin with `prefix` in the namespace at `path`. */
export function enginePrefix(path: string, prefix: string): string {
  if (path !== "") return path + ":" + prefix;
  return prefix.charCodeAt(0) === 47 /* slash */ ? "/:" + prefix : prefix;
}

/** The key as its namespace knows it, or `undefined` when it lives in another one. */
export function localKey(path: string, full: string): string | undefined {
  if (path !== "") return full.slice(path.length + 1);
  if (full.charCodeAt(0) !== 47) return full;
  return full.charCodeAt(1) === 58 /* colon */ ? full.slice(2) : undefined;
}
