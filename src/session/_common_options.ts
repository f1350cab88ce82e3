/** What sessions of both kinds, stored and sealed, check and decide alike. */
import { type Clock, systemClock } from "../clock.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { faultClass } from "../fault_class.ts";
import { checkSchema, type Schema } from "../schema.ts";
import { checkFunction, checkInteger, checkOptionNames, type OptionNames } from "../validate.ts";
import { interpreter, quietly } from "./_interpret.ts";
import type { SessionSource, SessionView } from "./_session_notes.ts";
import type { SessionEvent } from "./session_event.ts";
import type { SessionRecord } from "./session_record.ts";
import type { CommitOptions, SessionsOptions } from "./sessions.ts";

/** The options that both kinds have. */
export type CommonOptions = Pick<
  SessionsOptions<Schema>,
  | "schema"
  | "version"
  | "migrate"
  | "idleTimeout"
  | "absoluteTimeout"
  | "touchEvery"
  | "cookie"
  | "clock"
  | "onEvent"
  | "onFault"
>;

/** Their names. */
export const COMMON_OPTIONS = {
  schema: true,
  version: true,
  migrate: true,
  idleTimeout: true,
  absoluteTimeout: true,
  touchEvery: true,
  cookie: true,
  clock: true,
  onEvent: true,
  onFault: true,
} satisfies OptionNames<CommonOptions>;

/** What the options come to. */
export interface Common<Data>
  extends Pick<SessionSource<Data>, "checks" | "clock" | "emit" | "fault" | "isOwnFault" | "validate"> {
  readonly schema: Schema<Data> | undefined;
  readonly version: number;
  readonly idle: number;
  readonly absolute: number;
  readonly touchEvery: number;
  readonly interpret: (record: SessionRecord) => Promise<SessionView>;
}

/** Checks the options that both kinds have, and decides what was left open. */
export function commonOptions<Data>(options: CommonOptions): Common<Data> {
  for (const name of ["migrate", "onEvent", "onFault"] as const) {
    checkFunction("make sessions", name, options[name]);
  }
  const clock: Clock = options.clock ?? systemClock;
  const emit: (event: SessionEvent) => void = quietly(options.onEvent);
  const version = checkInteger("make sessions", "version", options.version ?? 1);
  const schema = options.schema as Schema<Data> | undefined;
  if (schema !== undefined) checkSchema("make sessions", schema);
  const { idle, absolute } = lifetimes(options);
  return {
    schema,
    checks: schema !== undefined,
    clock,
    emit,
    ...faults(options.onFault),
    version,
    idle,
    absolute,
    touchEvery: options.touchEvery === undefined
      ? Math.min(60_000, idle / 10)
      : toMilliseconds(options.touchEvery as Duration, "touchEvery"),
    interpret: interpreter(options, version, emit),
    async validate(values) {
      if (schema === undefined) return values as Data;
      const result = await schema["~standard"].validate(values);
      return result.issues === undefined ? result.value : undefined;
    },
  };
}

/**
 * The two timeouts of a session, in milliseconds. One that was given as longer idle than it may last at all is
 * a mistake; the standard idle timeout gives way to a shorter absolute one.
 *
 * @throws {RangeError}
 */
function lifetimes(
  { idleTimeout, absoluteTimeout = "12h" }: CommonOptions,
): { idle: number; absolute: number } {
  const absolute = toMilliseconds(absoluteTimeout, "absoluteTimeout");
  const idle = idleTimeout === undefined
    ? Math.min(toMilliseconds("30m"), absolute)
    : toMilliseconds(idleTimeout, "idleTimeout");
  if (idle <= absolute) return { idle, absolute };
  throw new RangeError(
    `Cannot make sessions as 'idleTimeout' must be at most 'absoluteTimeout' (${absolute} ms): ` +
      `current value is ${idle} ms`,
  );
}

/**
 * Reports faults, and knows them again: an application that lets one through gets a 503, its own faults are
 * its own.
 */
function faults(onFault: CommonOptions["onFault"]): Pick<SessionSource<unknown>, "fault" | "isOwnFault"> {
  const own = new WeakSet<object>();
  const report = quietly(onFault);
  return {
    fault(error) {
      if (isExpected(error)) return;
      if (typeof error === "object" && error !== null) own.add(error);
      report(error);
    },
    isOwnFault: (error) => typeof error === "object" && error !== null && own.has(error),
  };
}

/** An outcome that the application must reckon with, such as a login for which there is no room. */
function isExpected(error: unknown): boolean {
  return error instanceof HoldfastError && faultClass(error) === "other" && !error.retryable;
}

const COMMIT_OPTIONS = { failed: true, waitUntil: true } satisfies OptionNames<CommitOptions>;

/** Refuses what `commit` does not know. */
export function checkCommitOptions(options: CommitOptions): void {
  checkOptionNames("commit the session", options, COMMIT_OPTIONS);
  checkFunction("commit the session", "waitUntil", options.waitUntil);
}

/**
 * Refuses what `revokeUser` does not know; a mistyped `except` would end the session that was to be spared.
 */
export function checkRevokeOptions(options: { readonly except?: string | undefined }): void {
  checkOptionNames("revoke the user's sessions", options, { except: true });
}
