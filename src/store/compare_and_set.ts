import type { Clock } from "../clock.ts";
import { HoldfastError } from "../errors.ts";
import { checkInteger, checkMethods, checkNeededOptions, type OptionNames } from "../validate.ts";
import type { Fields, Step, Transition, Write } from "./transition.ts";

/**
 * A record as a compare-and-set backend keeps it.
 *
 * @category Engines
 */
export interface VersionedRecord {
  /** The record, or `undefined` when there is none. */
  readonly record: Fields | undefined;
  /** The expiry, in milliseconds since the epoch. */
  readonly expiresAt?: number | undefined;
  /** The version that the backend compares: a version stamp, an ETag, a row version. */
  readonly version: unknown;
}

/**
 * A backend that can replace a record on condition that it is still in the version that was read.
 *
 * @category Engines
 */
export interface CompareAndSetBackend {
  /** Reads a key with its version; a missing key has a version too. */
  load(key: string, signal?: AbortSignal): Promise<VersionedRecord>;
  /** Writes if the version is still the same; answers whether it was. */
  commit(key: string, version: unknown, write: Write, signal?: AbortSignal): Promise<boolean>;
}

/**
 * Options of {@linkcode transactByCompareAndSet}.
 *
 * @category Engines
 */
export interface CompareAndSetOptions {
  /** The clock of the transition's `now`, and of the waits between attempts. */
  readonly clock: Clock;
  /**
   * The maximum number of attempts; then a retryable `contention` error is thrown.
   * @default {64}
   */
  readonly attempts?: number | undefined;
  /** Ends the attempts when it aborts. */
  readonly signal?: AbortSignal | undefined;
}

const OPTIONS = { clock: true, attempts: true, signal: true } satisfies OptionNames<CompareAndSetOptions>;

/**
 * Runs a transition on a compare-and-set backend: load, apply, commit, and again after a jittered wait while
 * other writers win.
 *
 * @throws {HoldfastError} `contention` when every attempt was overtaken; nothing was written
 * @category Engines
 * @example
 * ```ts
 * import { systemClock } from "@holdfast/edge";
 * import {
 *   type CompareAndSetBackend,
 *   type Transition,
 *   transactByCompareAndSet,
 *   type VersionedRecord,
 * } from "@holdfast/edge/engine";
 *
 * const rows = new Map<string, VersionedRecord>();
 * const backend: CompareAndSetBackend = {
 *   load: (key) => Promise.resolve(rows.get(key) ?? { record: undefined, version: 0 }),
 *   commit(key, version, { record, expiresAt }) {
 *     if ((rows.get(key)?.version ?? 0) !== version) return Promise.resolve(false);
 *     rows.set(key, { record, expiresAt, version: Number(version) + 1 });
 *     return Promise.resolve(true);
 *   },
 * };
 * const append: Transition = {
 *   name: "text.append",
 *   apply: (record, { text }) => ({ output: {}, write: { record: { text: (record?.text ?? "") + text! } } }),
 * };
 * await transactByCompareAndSet(backend, append, "key", { text: "hold" }, { clock: systemClock });
 * await transactByCompareAndSet(backend, append, "key", { text: "fast" }, { clock: systemClock });
 * if (rows.get("key")!.record!.text !== "holdfast") throw new Error("unexpected");
 * ```
 */
export async function transactByCompareAndSet(
  backend: CompareAndSetBackend,
  transition: Transition,
  key: string,
  input: Fields,
  options: CompareAndSetOptions,
): Promise<Fields> {
  checkNeededOptions("run the transition", options, OPTIONS, "'clock'");
  const { clock, attempts = 64, signal } = options;
  checkMethods("run the transition", "'clock' must be a clock", clock, ["now", "sleep"]);
  checkInteger("run the transition", "attempts", attempts);
  for (let attempt = 1; attempt <= attempts; attempt++) {
    signal?.throwIfAborted();
    const { record, expiresAt, version } = await backend.load(key, signal);
    const now = clock.now();
    const live = expiresAt !== undefined && now >= expiresAt ? undefined : record;
    const step: Step = transition.apply(live, input, now);
    if (step.write === undefined || await backend.commit(key, version, step.write, signal)) {
      return step.output;
    }
    await clock.sleep(Math.random() * Math.min(2 ** attempt, 100), signal);
  }
  throw new HoldfastError(
    "contention",
    `Cannot change the record as others changed it first ${attempts} times`,
    {
      retryable: true,
    },
  );
}
