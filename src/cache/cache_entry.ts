/** The answer of the store about a key, parsed. */
import { checked, checkSchema } from "../check_schema.ts";
import { decodeValue, encodeValue } from "../codec.ts";
import type { Schema } from "../schema.ts";
import { checkOptionNames, type OptionNames } from "../validate.ts";
import type { CachedValue, PeekOptions } from "./cache.ts";
import type { Fields } from "../store/transition.ts";

/** A cached value. */
export interface CacheEntry {
  /** `undefined`: the origin had nothing. */
  readonly text: string | undefined;
  /** The value that the text stands for. */
  readonly value: unknown;
  /** The names of its tags with the versions that they had when its fill began. */
  readonly tags: string;
  /** Milliseconds since it was filled. */
  readonly age: number;
  /** Milliseconds left as fresh. */
  readonly fresh: number;
  /** Milliseconds left as one that may be answered while it is refilled, those as fresh included. */
  readonly stale: number;
  /** Milliseconds left as one that may be answered where the origin fails. */
  readonly grace: number;
}

/** The result of one read of the store. */
export interface Look {
  /** The cached value; `undefined` when there is none, or it is out of date. */
  readonly entry: CacheEntry | undefined;
  /** The text of the current versions of the tags, to be stored with a fill that begins now. */
  readonly tags: string;
  /** The engine's name of the right to fill, where the read granted it. */
  readonly grant: string | undefined;
  /** The monotonic time before the read was sent. */
  readonly sentAt: number;
  /** Milliseconds for which another filler has that right; 0 where there is none. */
  readonly busy: number;
  /** That filler and its grant. */
  readonly holder: string | undefined;
}

/** Reads the output of `cache.read`. */
export function readEntry(output: Fields): CacheEntry | undefined {
  if (output.tags === undefined) return undefined;
  const now = Number(output.now);
  return {
    text: output.value,
    value: valueOf(output.value),
    tags: output.tags,
    age: Math.max(0, now - Number(output.filledAt)),
    fresh: Math.max(0, Number(output.freshUntil) - now),
    stale: Number(output.staleUntil) - now,
    grace: Number(output.until) - now,
  };
}

/** The answer of a look at an entry; `undefined` where its value does not match the schema. */
export async function cachedValue<T>(
  { text, age, fresh }: Pick<CacheEntry, "text" | "age" | "fresh">,
  schema: Schema | undefined,
): Promise<CachedValue<T> | undefined> {
  try {
    const value = await validated<T>(valueOf(text), schema);
    return {
      state: text === undefined ? "absent" : fresh > 0 ? "fresh" : "stale",
      value,
      age,
      remaining: fresh,
    };
  } catch {
    return undefined;
  }
}

const PEEK_OPTIONS: OptionNames<PeekOptions> = { version: true, schema: true, signal: true };

/** Checks the options of `peek`. */
export function checkPeek(options: PeekOptions): void {
  const task = "read";
  checkOptionNames(task, options, PEEK_OPTIONS);
  if (options.schema !== undefined) checkSchema(task, options.schema);
}

/** The value of an entry; an absence is `undefined`. */
export function valueOf<T>(text: string | undefined): T {
  return (text === undefined ? undefined : decodeValue(text)) as T;
}

/** The text of a value; an absence has none. */
export function textOf(value: unknown): string | undefined {
  return value === undefined ? undefined : encodeValue(value);
}

/**
 * The text of a value that an app sets.
 *
 * @throws {TypeError} for an absence, which only a fill can say
 */
export function givenText(value: unknown): string {
  const text = textOf(value);
  if (text === undefined) throw new TypeError("Cannot cache undefined");
  return text;
}

/**
 * The value as the schema makes it.
 *
 * @throws {HoldfastError} `schema-mismatch`
 */
export async function validated<T>(value: unknown, schema: Schema | undefined): Promise<T> {
  if (schema === undefined || value === undefined) return value as T;
  return await checked(value, schema as Schema<T>);
}

/** The text that is compared: each tag with its version, `""` for one that was never invalidated. */
export function tagText(names: readonly string[], versions: readonly (string | undefined)[]): string {
  return names.length === 0 ? "" : JSON.stringify(names.map((name, i) => [name, versions[i] ?? ""]));
}

/** The names in such a text. */
export function tagNames(text: string): string[] {
  return text === "" ? [] : (JSON.parse(text) as [name: string, version: string][]).map(([name]) => name);
}
