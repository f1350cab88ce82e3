import { checkSchema } from "../check_schema.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { dropRejection } from "../safely.ts";
import type { Schema } from "../schema.ts";
import {
  checkArray,
  checkFunction,
  checkInteger,
  checkNames,
  checkNeededOptions,
  checkOneOf,
  type OptionNames,
} from "../validate.ts";
import type { CacheEntryOptions, CacheGetOptions, FillLifetime } from "./cache.ts";

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
  readonly refresh: boolean;
  readonly fillTimeout: number;
  readonly waitUntil: ((work: Promise<unknown>) => void) | undefined;
  readonly schema: Schema | undefined;
  readonly signal: AbortSignal | undefined;
}

const TASK = "cache the value";
const BOOLEANS = [true, false];

/**
 * A fill that never ends would keep its key from everyone: a minute is long for an origin, in milliseconds.
 */
const FILL_TIMEOUT = 60_000;

/** Each tag is a key to read beside the value, and part of every record. */
const MAX_TAGS = 32;

const SET_OPTIONS: OptionNames<CacheEntryOptions> = {
  ttl: true,
  stale: true,
  grace: true,
  tags: true,
  version: true,
  signal: true,
};
const LIFETIME: OptionNames<FillLifetime> = { ttl: true, stale: true, grace: true };
const GET_OPTIONS: OptionNames<CacheGetOptions> = {
  ttl: true,
  stale: true,
  grace: true,
  tags: true,
  version: true,
  signal: true,
  absent: true,
  early: true,
  refresh: true,
  waitUntil: true,
  schema: true,
  fillTimeout: true,
};

/** Checks the options of `set`. */
export function setPlan(options: CacheEntryOptions, maxLifetime: number): CachePlan {
  return plan(options, SET_OPTIONS, maxLifetime);
}

/** Checks the options of `get`. Each hit does this: nothing is listed or parsed twice. */
export function getPlan(fill: unknown, options: CacheGetOptions, maxLifetime: number): CachePlan {
  checkFunction(TASK, "fill", fill ?? null);
  return plan(options, GET_OPTIONS, maxLifetime);
}

/** The keys of a call that takes one or several. */
export function keysOf(key: string | readonly string[]): readonly string[] {
  const keys = typeof key === "string" ? [key] : key;
  checkArray(TASK, "keys", keys);
  return keys;
}

function plan(
  options: CacheGetOptions,
  known: Readonly<Record<string, true>>,
  maxLifetime: number,
): CachePlan {
  checkNeededOptions(TASK, options, known, "'ttl'");
  const { early = 0, refresh = false, version = "", waitUntil, schema, signal } = options;
  if (typeof version !== "string") {
    throw new TypeError(`Cannot ${TASK} as 'version' must be a string`);
  }
  if (!(typeof early === "number" && early >= 0 && early <= 100)) {
    throw new RangeError(`Cannot ${TASK} as 'early' must be 0 to 100`);
  }
  checkFunction(TASK, "waitUntil", waitUntil);
  if (schema !== undefined) checkSchema(TASK, schema);
  const made: CachePlan = {
    ttl: milliseconds(options.ttl, "ttl"),
    stale: optional(options.stale, "stale") ?? 0,
    grace: optional(options.grace, "grace") ?? 0,
    tags: options.tags === undefined ? NO_TAGS : checkTags(options.tags),
    version,
    absent: optional(options.absent, "absent"),
    early,
    refresh: checkOneOf(TASK, "refresh", refresh, BOOLEANS),
    fillTimeout: optional(options.fillTimeout, "fillTimeout") ?? FILL_TIMEOUT,
    // A rejection is dropped here: the caller gets it, or `onFault` does.
    waitUntil: waitUntil && ((work) => dropRejection(waitUntil(work.catch(() => {})))),
    schema,
    signal,
  };
  if (Math.max(made.ttl, made.absent ?? 0) + Math.max(made.stale, made.grace) > maxLifetime) {
    throw new RangeError(
      `Cannot ${TASK} beyond 'maxLifetime', ${maxLifetime} ms`,
    );
  }
  return made;
}

function optional(duration: Duration | undefined, name: string): number | undefined {
  return duration === undefined ? undefined : milliseconds(duration, name);
}

/** Texts of durations that were read before: an app has few, and a hit reads them again. */
const read = new Map<string, number>();
/** An app that builds its durations from data must not fill the memory. */
const MAX_READ = 100;

function milliseconds(duration: Duration, name: string): number {
  if (typeof duration !== "string") return toMilliseconds(duration, name);
  let length = read.get(duration);
  if (length === undefined) {
    length = toMilliseconds(duration, name);
    if (read.size < MAX_READ) read.set(duration, length);
  }
  return length;
}

/**
 * The lifetime that a fill chose by `keep`, over that of the call: `undefined` where it is not to be kept. It
 * is cut to what the cache keeps at most.
 *
 * @throws {TypeError | RangeError} when it is no lifetime, or a duration is none
 */
export function keptPlan(plan: CachePlan, chosen: FillLifetime, maxLifetime: number): CachePlan {
  checkNames(TASK, chosen ?? null, LIFETIME);
  const part = (given: Duration | undefined, other: number, name: string) =>
    given === undefined ? other : given === 0 ? 0 : milliseconds(given, name);
  const ttl = Math.min(part(chosen.ttl, plan.ttl, "ttl"), maxLifetime);
  const most = maxLifetime - ttl;
  return {
    ...plan,
    ttl,
    stale: Math.min(part(chosen.stale, plan.stale, "stale"), most),
    grace: Math.min(part(chosen.grace, plan.grace, "grace"), most),
  };
}

const NO_TAGS: readonly string[] = [];

/** The tags, sorted, each once. */
export function checkTags(tags: readonly string[]): readonly string[] {
  if (!Array.isArray(tags) || !tags.every((tag) => typeof tag === "string" && tag !== "")) {
    throw new TypeError(`Cannot ${TASK} as 'tags' must be non-empty strings`);
  }
  const names = [...new Set(tags)].sort();
  checkInteger(TASK, "tags.length", names.length, 0, MAX_TAGS);
  return names;
}
