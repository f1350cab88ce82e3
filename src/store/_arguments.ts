/** Checks of the arguments of a store's calls besides their options. */
import { checkArray } from "../validate.ts";

/**
 * Refuses a value that is no array: the characters of a string would be taken for keys.
 *
 * @throws {TypeError}
 */
export function checkKeys(task: string, keys: unknown): void {
  checkArray(task, "keys", keys);
}

/**
 * Refuses what cannot be iterated: an object in place of its entries would set nothing, in silence.
 *
 * @throws {TypeError}
 */
export function checkEntries(entries: unknown): void {
  const open = typeof entries === "object" && (entries as Iterable<unknown> | null)?.[Symbol.iterator];
  if (typeof open !== "function") throw noPairs(entries);
}

/**
 * Refuses an entry that is no pair.
 *
 * @throws {TypeError}
 */
export function checkEntry<T>(entry: T): T {
  if (!Array.isArray(entry)) throw noPairs(entry);
  return entry;
}

function noPairs(value: unknown): TypeError {
  return new TypeError(
    `Cannot set the values as they must be pairs, [key, value]: current type is ${typeof value}`,
  );
}

/**
 * Refuses what is no transition, or no record of strings.
 *
 * @throws {TypeError}
 */
export function checkTransition(transition: unknown, input: unknown): void {
  if (typeof (transition as { readonly apply?: unknown } | undefined)?.apply !== "function") {
    throw new TypeError(`Cannot transact as it needs a transition: current type is ${typeof transition}`);
  }
  if (typeof input !== "object" || input === null) {
    throw new TypeError(
      `Cannot transact as its input must be an object of strings: current type is ${typeof input}`,
    );
  }
}
