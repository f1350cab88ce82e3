/** What every store on Redis is made of: limits that are checked, an engine, a store. */
import { type Duration, toMilliseconds } from "../../src/duration.ts";
import type { AtomicStore } from "../../src/store/atomic_store.ts";
import { storeFromEngine } from "../../src/store/store.ts";
import { checkInteger } from "../../src/validate.ts";
import { type EngineParts, UpstashEngine } from "./_engine.ts";
import type { UpstashScripts } from "./_lua.ts";
import type { Timeouts } from "./_transport.ts";

/** The options that every store on Redis has. */
interface SharedOptions {
  readonly timeout?: Duration | undefined;
  readonly attemptTimeout?: Duration | undefined;
  readonly maxValueLength?: number | undefined;
  readonly virtualTime?: (() => number) | undefined;
}

/** The time limits of a call and of one attempt. */
export function timeoutsOf(options: SharedOptions): Timeouts {
  const timeout = toMilliseconds(options.timeout ?? "5s", "timeout");
  return { timeout, attemptTimeout: toMilliseconds(options.attemptTimeout ?? timeout, "attemptTimeout") };
}

/**
 * The store of an engine; values have at most `longest` characters where the options do not say otherwise.
 */
export function redisEngineStore(
  parts: Omit<EngineParts, "maxValueLength" | "virtualTime">,
  longest: number,
  { maxValueLength = longest, virtualTime }: SharedOptions,
): AtomicStore {
  checkInteger("make a store", "maxValueLength", maxValueLength);
  return storeFromEngine(new UpstashEngine({ ...parts, maxValueLength, virtualTime }));
}

/**
 * The scripts, checked.
 *
 * @throws {TypeError} when they are no list of what the compiler writes
 */
export function checkScripts(scripts: readonly UpstashScripts[]): readonly UpstashScripts[] {
  const given: unknown = scripts;
  if (
    Array.isArray(given) &&
    given.every((some) => typeof some?.scripts === "object" && Array.isArray(some.parts))
  ) {
    return scripts;
  }
  throw new TypeError("Cannot make a store as 'scripts' must be a list of what the compiler writes");
}
