/**
 * The transitions of plain values. A value's record is `{ v, e? }`: its encoded text and, when it has a
 * deadline, that deadline in milliseconds since the epoch.
 */
import type { Fields, Step, Transition, Write } from "./transition.ts";

function value(text: string, ttl: string | undefined, now: number): Write {
  if (ttl === undefined) return { record: { v: text } };
  const expiresAt = now + Number(ttl);
  return { record: { v: text, e: String(expiresAt) }, expiresAt };
}

/** What is there; a record that is no value shows as a text that the codec never writes. */
function current(record: Fields | undefined): Fields {
  return record === undefined ? {} : { v: record.v ?? "\0" };
}

/** `{}` → `{ v? }`. */
export const getValue: Transition = {
  name: "value.get",
  apply: (record) => ({ output: current(record) }),
};

/** `{ v, ttl? }` → `{}`. */
export const setValue: Transition = {
  name: "value.set",
  apply: (_record, input, now) => ({ output: {}, write: value(input.v!, input.ttl, now) }),
};

/** `{}` → `{ v? }`: what was there, deleted. */
export const takeValue: Transition = {
  name: "value.take",
  apply: (record) =>
    record === undefined ? { output: {} } : { output: current(record), write: { record: undefined } },
};

/** `{ ttl }` → `{ done }`. */
export const touchValue: Transition = {
  name: "value.touch",
  apply(record, input, now): Step {
    if (record === undefined) return { output: { done: "0" } };
    const expiresAt = now + Number(input.ttl);
    return { output: { done: "1" }, write: { record: { ...record, e: String(expiresAt) }, expiresAt } };
  },
};

/** `{ expected?, v, ttl? }` → `{ done, v? }`: `v` is what stood in the way. */
export const replaceValue: Transition = {
  name: "value.replace",
  apply(record, input, now): Step {
    if (record?.v !== input.expected) return { output: { done: "0", ...current(record) } };
    return { output: { done: "1" }, write: value(input.v!, input.ttl, now) };
  },
};

/** `{ expected }` → `{ done }`. */
export const removeValue: Transition = {
  name: "value.remove",
  apply(record, input): Step {
    if (record === undefined || record.v !== input.expected) return { output: { done: "0" } };
    return { output: { done: "1" }, write: { record: undefined } };
  },
};

/** `{ by, ttl? }` → `{ n, e? }`, or `{ error }` when there is no integer to add to. */
export const incrementValue: Transition = {
  name: "value.increment",
  apply(record, input, now): Step {
    if (record === undefined) {
      const write = value("\t" + input.by, input.ttl, now);
      return { output: { n: input.by!, ...(write.record!.e && { e: write.record!.e }) }, write };
    }
    if (!/^\t-?[0-9]{1,16}$/.test(record.v ?? "\0")) return { output: { error: "not-an-integer" } };
    const sum = Number(record.v!.slice(1)) + Number(input.by);
    if (!Number.isSafeInteger(sum)) return { output: { error: "not-an-integer" } };
    const next = { ...record, v: "\t" + sum };
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
