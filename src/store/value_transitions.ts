/**
 * The transitions of plain values. A value's record:
 *
 * | field | type | meaning                                                                               |
 * | ----- | ---- | ------------------------------------------------------------------------------------- |
 * | `v`   | text | the value, encoded (`codec.ts`); of a counter, `"\t"` and an integer                  |
 * | `e`   | time | when it expires, in milliseconds since the epoch by the engine's clock; may be absent |
 *
 * The fields are letters, the only ones of all records: a store may hold millions of values of a few bytes.
 */
import type { Fields, Step, Transition, Write } from "./transition.ts";
import { isWhole } from "./whole_number.ts";

/** The largest integer up to which every integer is exact, and the number of its digits. */
const EXACT = 9_007_199_254_740_991;
const DIGITS = 16;

function value(text: string, ttl: string | undefined, now: number): Write {
  if (ttl === undefined) return { record: { v: text } };
  const expiresAt = now + Number(ttl);
  return { record: { v: text, e: String(expiresAt) }, expiresAt };
}

/** The value of a record. A record of another contract answers a text that the codec refuses to decode. */
function current(record: Fields | undefined): Fields {
  return record === undefined ? {} : { v: record.v ?? "\0" };
}

/** The decimal text of a stored integer; `undefined` when another value is stored. */
function integerText(stored: string | undefined): string | undefined {
  if (stored === undefined || !stored.startsWith("\t")) return undefined;
  const digits = stored.slice(stored.startsWith("\t-") ? 2 : 1);
  return isWhole(digits, DIGITS) ? stored.slice(1) : undefined;
}

/** `{}` → `{ v? }`. */
export const getValue: Transition = {
  name: "value.get",
  apply: (record): Step => ({ output: current(record) }),
};

/** `{ v, ttl? }` → `{}`. */
export const setValue: Transition = {
  name: "value.set",
  apply: (_record, input, now): Step => ({ output: {}, write: value(input.v!, input.ttl, now) }),
};

/** `{}` → `{ v? }`: deletes the value and answers it. */
export const takeValue: Transition = {
  name: "value.take",
  apply(record): Step {
    if (record === undefined) return { output: {} };
    return { output: current(record), write: { record: undefined } };
  },
};

/** `{ ttl }` → `{ done }`: the value expires `ttl` milliseconds from now. */
export const touchValue: Transition = {
  name: "value.touch",
  apply(record, input, now): Step {
    if (record === undefined) return { output: { done: "0" } };
    const expiresAt = now + Number(input.ttl);
    return { output: { done: "1" }, write: { record: { ...record, e: String(expiresAt) }, expiresAt } };
  },
};

/**
 * `{ expected?, v, ttl? }` → `{ done, v? }`: stores `v` if the value is the expected one; else answers the
 * value.
 */
export const replaceValue: Transition = {
  name: "value.replace",
  apply(record, input, now): Step {
    const stored = record === undefined ? undefined : record.v;
    if (stored !== input.expected) return { output: { done: "0", ...current(record) } };
    return { output: { done: "1" }, write: value(input.v!, input.ttl, now) };
  },
};

/** `{ expected }` → `{ done }`: deletes the value if it is the expected one. */
export const removeValue: Transition = {
  name: "value.remove",
  apply(record, input): Step {
    if (record === undefined || record.v !== input.expected) return { output: { done: "0" } };
    return { output: { done: "1" }, write: { record: undefined } };
  },
};

/**
 * `{ by, ttl? }` → `{ n, e? }`: the sum and its expiry, or `{ error }` when the value is not an integer or
 * the sum is not exact. Only the increment that creates the counter sets its expiry.
 */
export const incrementValue: Transition = {
  name: "value.increment",
  apply(record, input, now): Step {
    if (record === undefined) {
      const output: Record<string, string> = { n: input.by! };
      if (input.ttl !== undefined) output.e = String(now + Number(input.ttl));
      return { output, write: value("\t" + input.by!, input.ttl, now) };
    }
    const text = integerText(record.v);
    if (text === undefined) return { output: { error: "not-an-integer" } };
    const sum = Number(text) + Number(input.by);
    if (sum > EXACT || sum < -EXACT) return { output: { error: "not-an-integer" } };
    const next: Record<string, string> = { ...record, v: "\t" + String(sum) };
    if (record.e === undefined) return { output: { n: String(sum) }, write: { record: next } };
    return { output: { n: String(sum), e: record.e }, write: { record: next, expiresAt: Number(record.e) } };
  },
};

/**
 * Every transition of plain values.
 *
 * @category Transitions
 */
export const valueTransitions: readonly Transition[] = [
  getValue,
  setValue,
  takeValue,
  touchValue,
  replaceValue,
  removeValue,
  incrementValue,
];
