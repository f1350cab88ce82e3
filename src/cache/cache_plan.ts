import { type Duration, toMilliseconds } from "../duration.ts";
import type { Schema } from "../schema.ts";
import { checkFunction, checkOptionNames, type OptionNames } from "../validate.ts";
import type { CacheEntryOptions, CacheGetOptions } from "./cache.ts";

/** The options of a call, checked, with every duration in milliseconds. */
export interface CachePlan {
  readonly ttl: number;
  readonly stale: number;
  readonly grace: number;
  /** Sorted, each once. */
  readonly tags: readonly string[];
  readonly version: string;
  /** `undefined`: an absence is not kept. */
  readonly absent: number | undefined;
  readonly early: number;
  readonly fillTimeout: number | undefined;
  readonly waitUntil: ((work: Promise<unknown>) => void) | undefined;
  readonly schema: Schema | undefined;
  readonly signal: AbortSignal | undefined;
}

/** Each tag is a key to read beside the value, and part of every record. */
const MAX_TAGS = 32;

const ENTRY = { ttl: true, stale: true, grace: true, tags: true, version: true, signal: true } as const;
const SET_OPTIONS: OptionNames<CacheEntryOptions> = ENTRY;
const GET_OPTIONS: OptionNames<CacheGetOptions> = {
  ...ENTRY,
  absent: true,
  early: true,
  waitUntil: true,
  schema: true,
  fillTimeout: true,
};

/** Checks the options of `set`. */
export function setPlan(options: CacheEntryOptions, maxLifetime: number): CachePlan {
  checkOptionNames("cache the value", options, SET_OPTIONS);
  return plan(options, maxLifetime);
}

/** Checks the options of `get`. */
export function getPlan(options: CacheGetOptions, maxLifetime: number): CachePlan {
  checkOptionNames("cache the value", options, GET_OPTIONS);
  return plan(options, maxLifetime);
}

function plan(options: CacheGetOptions, maxLifetime: number): CachePlan {
  const { early = 0, version = "", waitUntil, schema, signal } = options;
  if (typeof version !== "string") {
    throw new TypeError("Cannot cache the value as 'version' must be a string");
  }
  if (!(typeof early === "number" && early >= 0 && early <= 100)) {
    throw new RangeError(
      `Cannot cache the value as 'early' must be from 0 to 100: current value is ${early}`,
    );
  }
  checkFunction("cache the value", "waitUntil", waitUntil);
  const made: CachePlan = {
    ttl: toMilliseconds(options.ttl, "ttl"),
    stale: optional(options.stale, "stale") ?? 0,
    grace: optional(options.grace, "grace") ?? 0,
    tags: checkTags(options.tags ?? []),
    version,
    absent: optional(options.absent, "absent"),
    early,
    fillTimeout: optional(options.fillTimeout, "fillTimeout"),
    waitUntil,
    schema,
    signal,
  };
  if (Math.max(made.ttl, made.absent ?? 0) + Math.max(made.stale, made.grace) > maxLifetime) {
    throw new RangeError(
      `Cannot cache the value as it would live longer than 'maxLifetime' of the cache: current value is ${maxLifetime} ms`,
    );
  }
  return made;
}

function optional(duration: Duration | undefined, name: string): number | undefined {
  return duration === undefined ? undefined : toMilliseconds(duration, name);
}

/** The tags, sorted, each once. */
export function checkTags(tags: readonly string[]): readonly string[] {
  if (!Array.isArray(tags) || !tags.every((tag) => typeof tag === "string" && tag !== "")) {
    throw new TypeError("Cannot use the tags as each must be a non-empty string");
  }
  const names = [...new Set(tags)].sort();
  if (names.length > MAX_TAGS) {
    throw new RangeError(
      `Cannot use the tags as there may be at most ${MAX_TAGS}: current count is ${names.length}`,
    );
  }
  return names;
}
