/**
 * Texts that every check reads, with forms of their own in Lua (`adapters/upstash/compile/lua_library.ts`): here by hand,
 * as pieces of text cost more than all the arithmetic of a throttle.
 */

/**
 * Reads whole numbers of 1 to 15 digits between colons. Returns how many there are: 0 if anything else is in
 * the text. They are put into a list that is used again and again, as an array of their own costs more.
 */
export function readNumbers(text: string, into: number[]): number {
  let count = 0;
  let value = 0;
  let digits = 0;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit === 10 /* a colon */ && digits > 0) {
      into[count++] = value;
      value = digits = 0;
    } else if (digit < 0 || digit > 9 || ++digits > 15) return 0;
    else value = value * 10 + digit;
  }
  into[count] = value;
  return digits > 0 ? count + 1 : 0;
}

const names: string[] = [];

/** The name of a policy in a call's input and output. */
export function policyName(index: number): string {
  return names[index] ??= "policy" + index;
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
