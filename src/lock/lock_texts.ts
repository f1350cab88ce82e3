/**
 * Texts that every change of a lock reads and makes, with forms of their own in Lua
 * (`adapters/upstash/compile/lua_library.ts`): here by hand, as pieces of text cost more than the rest of a
 * change.
 */
import type { Fields } from "../store/transition.ts";

/** The whole numbers in a text. */
export function numbersIn(text: string): readonly number[] {
  if (text === lastText) return lastNumbers;
  const numbers: number[] = [];
  let value = -1;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit >= 0 && digit <= 9) value = (value < 0 ? 0 : value * 10) + digit;
    else if (value >= 0) {
      numbers.push(value);
      value = -1;
    }
  }
  if (value >= 0) numbers.push(value);
  return numbers;
}

let lastText: string | undefined;
let lastNumbers: readonly number[] = [];

/**
 * The text of a summary. The last one is known without reading: an engine in this process hands on the very
 * text.
 */
export function summaryText(...numbers: readonly number[]): string {
  lastNumbers = numbers;
  return lastText = numbers.join(" ");
}

/**
 * Whether the text, names with commas between them, has that name. Almost none does, and a look without a
 * new text tells so.
 */
export function isAmong(names: string, name: string): boolean {
  return names.includes(name) && ("," + names + ",").includes("," + name + ",");
}

/**
 * The holders and waiters of a record with so many of them. That of the call itself is tried first: a loop
 * over names costs more than all else.
 */
export function ownersIn(record: Fields, count: number, owner: string | undefined): readonly string[] {
  if (count === 1 && owner !== undefined && record["by:" + owner] !== undefined) return [owner];
  const owners: string[] = [];
  if (count > 0) {
    for (const name in record) if (name.startsWith("by:")) owners.push(name.slice(3));
  }
  return owners;
}

/**
 * A record with the field `done`; `owned` where it gets names that occur nowhere else. Of an ordinary object
 * the runtime keeps a description for each set of names; one without a prototype is a table from the beginning.
 */
export function newRecord(done: string, owned: boolean): Record<string, string> {
  const record: Record<string, string> = owned ? Object.create(null) : {};
  record.done = done;
  return record;
}
