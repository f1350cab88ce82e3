/**
 * Texts that every check reads, with forms of their own in Lua (`adapters/upstash/compile/lua_library.ts`): here by hand,
 * as pieces of text cost more than all the arithmetic of a throttle.
 */

/** The whole numbers of 1 to 15 digits between the colons of a text; none if anything else is in it. */
export function wholeNumbers(text: string): number[] {
  const numbers = [0];
  let at = 0;
  let digits = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit === 10 /* a colon */ && digits > 0) {
      numbers[++at] = 0;
      digits = 0;
    } else if (digit < 0 || digit > 9 || ++digits > 15) return [];
    else numbers[at] = numbers[at]! * 10 + digit;
  }
  return digits > 0 ? numbers : [];
}

/** A bound, as a function may make policies of what clients send. */
const MOST = 1000;
const made = /* @__PURE__ */ new Map<string, unknown>();

/** What `make` makes of a policy's line, the same for each call. */
export function remembered<T>(line: string, make: (line: string) => T): T {
  let value = made.get(line) as T | undefined;
  if (value === undefined) {
    if (made.size >= MOST) made.clear();
    made.set(line, value = make(line));
  }
  return value;
}
