/**
 * Texts that every check reads and makes, with forms of their own in Lua
 * (`adapters/upstash/compile/lua_library.ts`): here by hand, as pieces of text cost more than all the arithmetic
 * of a throttle.
 */
import type { Fields } from "../store/transition.ts";

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

let lastText: string | undefined;
let lastNumber = -1;

/**
 * The number of a text of 1 to 15 digits; -1 for any other text. The last one is kept: records that are
 * written within ten seconds of each other end at the same time.
 */
export function wholeNumber(text: string | undefined): number {
  if (text === undefined) return -1;
  if (text !== lastText) {
    lastNumber = readNumbers(text, one) === 1 ? one[0]! : -1;
    lastText = text;
  }
  return lastNumber;
}

const one = [0];
const names: string[] = [];

/** The name of a policy in a call's input and output. */
export function policyName(index: number): string {
  return names[index] ??= "policy" + index;
}

let start: string | undefined; // drawn at the first call: Workers have no randomness before a request
let calls = 0;

/** A name for a call, so that a copy of it counts once: a random beginning, then a count. */
export function nextCall(): string {
  // No secret, and short: a record remembers as many names as 64 characters hold.
  start ??= Math.random().toString(36).slice(2, 8);
  return start + (calls++).toString(36);
}

/** Whether a record has counted the call already: it arrived twice, as one whose reply was lost may. */
export function isRepeated(record: Fields | undefined, call: string | undefined): boolean {
  if (record === undefined || call === undefined) return false;
  const recent = record["recentCalls"] ?? "";
  // Almost no call is, and a look without a new text tells so.
  return recent.includes(call) && ("," + recent).includes("," + call + ",");
}

/** The figures of a policy as an output has them: `remaining:reset:next:retry`. */
export type Figures = readonly [remaining: number, reset: number, next: number, retry: number];

let told: Figures = [0, 0, 0, 0];
let toldText: string | undefined;

/** The text of a policy's figures. */
export function figuresText(remaining: number, reset: number, next: number, retry: number): string {
  told = [remaining, reset, next, retry];
  return toldText = `${remaining}:${reset}:${next}:${retry}`;
}

/**
 * The figures of a text. Those that were made last are known without reading: an engine in this process hands
 * on the very text.
 */
export function figuresOf(text: string): Figures {
  if (text === toldText) return told;
  const never = text.endsWith("-1"); // the one negative figure
  const numbers = [0, 0, 0, 0] as [number, number, number, number];
  readNumbers(never ? text.slice(0, -3) : text, numbers);
  if (never) numbers[3] = -1;
  return numbers;
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
