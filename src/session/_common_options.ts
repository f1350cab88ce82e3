/** The options that stored and sealed sessions share, checked and with their defaults. */
import { type Clock, systemClock } from "../clock.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { faultClass } from "../fault_class.ts";
import { checkSchema } from "../check_schema.ts";
import { safely } from "../safely.ts";
import type { Schema } from "../schema.ts";
import { checkFunction, checkInteger, checkOptionNames, type OptionNames } from "../validate.ts";
import { interpreter } from "./_interpret.ts";
import type { Awaitable } from "../store/engine.ts";
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

/** The options with every default decided. */
export interface Common<Data>
  extends
    Pick<SessionSource<Data>, "checks" | "clock" | "emit" | "fault" | "warn" | "isOwnFault" | "validate"> {
  readonly schema: Schema<Data> | undefined;
  readonly version: number;
  readonly idle: number;
  readonly absolute: number;
  readonly touchEvery: number;
  readonly interpret: (record: SessionRecord) => Awaitable<SessionView>;
}

/** Checks the options that both kinds have, and applies the defaults. */
export function commonOptions<Data>(options: CommonOptions): Common<Data> {
  for (const name of ["migrate", "onEvent", "onFault"] as const) {
    checkFunction("make sessions", name, options[name]);
  }
  const clock: Clock = options.clock ?? systemClock;
  const emit: (event: SessionEvent) => void = safely(options.onEvent);
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

const IDLE_TIMEOUT = "30m";

/**
 * The two timeouts of a session, in milliseconds. One that was given as longer idle than it may last at all
 * is a mistake; the standard idle timeout gives way to a shorter absolute one.
 *
 * @throws {RangeError}
 */
function lifetimes(
  { idleTimeout, absoluteTimeout = "12h" }: CommonOptions,
): { idle: number; absolute: number } {
  const absolute = toMilliseconds(absoluteTimeout, "absoluteTimeout");
  const idle = idleTimeout === undefined
    ? Math.min(toMilliseconds(IDLE_TIMEOUT), absolute)
    : toMilliseconds(idleTimeout, "idleTimeout");
  if (idle <= absolute) return { idle, absolute };
  throw new RangeError(
    `Cannot make sessions as 'idleTimeout' must be at most 'absoluteTimeout' (${absolute} ms): ` +
      `current value is ${idle} ms`,
  );
}

/**
 * Reports faults and recognizes them later: an application that lets a fault of the store through gets a 503,
 * its own errors do not.
 */
function faults(
  onFault: CommonOptions["onFault"],
): Pick<SessionSource<unknown>, "fault" | "warn" | "isOwnFault"> {
  const own = new WeakSet<object>();
  const report = safely(onFault);
  return {
    fault(error) {
      if (isExpected(error)) return;
      if (typeof error === "object" && error !== null) own.add(error);
      report(error);
    },
    // deno-lint-ignore no-console -- otherwise every login would succeed and no visitor be logged in, in silence
    warn: (error) => onFault === undefined ? console.warn(error.message) : report(error),
    isOwnFault: (error) => typeof error === "object" && error !== null && own.has(error),
  };
}

/** Tells an outcome that the application must expect, such as a login over the limit. */
function isExpected(error: unknown): boolean {
  return error instanceof HoldfastError && faultClass(error) === "other" && !error.retryable;
}

/** Refuses what is no Cookie header, such as the request itself. */
export function checkCookieHeader(header: unknown): void {
  if (header === undefined || header === null || typeof header === "string") return;
  throw new TypeError(
    'Cannot open the session as that takes the Cookie header, request.headers.get("cookie"): current type is ' +
      `${typeof header}; fromRequest(request) takes the request`,
  );
}

/** Refuses what is no request. */
export function checkRequest(request: unknown): void {
  if (typeof (request as Request | null | undefined)?.headers?.get === "function") return;
  throw new TypeError("Cannot open the session as fromRequest() takes a Request");
}

/** Refuses what is no user id, before any call: `undefined`, hashed, would be an account of its own. */
export function checkUserId(task: string, userId: unknown): void {
  checkName(task, "the user id", userId);
}

/** Refuses what is no handle. */
export function checkHandle(task: string, handle: unknown): void {
  checkName(task, "the session's handle", handle);
}

function checkName(task: string, what: string, value: unknown): void {
  if (typeof value === "string" && value !== "" && value.isWellFormed()) return;
  throw new TypeError(`Cannot ${task} as ${what} must be a non-empty, well-formed string`);
}

const COMMIT_OPTIONS = { failed: true, waitUntil: true, onConflict: true } satisfies OptionNames<
  CommitOptions
>;

/** Refuses unknown options of `commit`. */
export function checkCommitOptions(options: CommitOptions): void {
  checkOptionNames("commit the session", options, COMMIT_OPTIONS);
  checkFunction("commit the session", "waitUntil", options.waitUntil);
  checkFunction("commit the session", "onConflict", options.onConflict);
}

const REVOKE_USER = "revoke the user's sessions";

/**
 * Refuses unknown options of `revokeUser`: a mistyped `except` would end the session that it names.
 */
export function checkRevokeUser(userId: unknown, options: { readonly except?: string | undefined }): void {
  checkUserId(REVOKE_USER, userId);
  checkOptionNames(REVOKE_USER, options, { except: true });
  if (options.except !== undefined) checkHandle(REVOKE_USER, options.except);
}
