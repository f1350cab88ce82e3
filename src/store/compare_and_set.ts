import type { Clock } from "../clock.ts";
import { HoldfastError } from "../errors.ts";
import type { Fields, Step, Transition, Write } from "./transition.ts";

/** A record as a compare-and-set backend keeps it. */
export interface VersionedRecord {
  /** The record, or `undefined` when there is none. */
  readonly record: Fields | undefined;
  /** When it dies, in milliseconds since the epoch. */
  readonly expiresAt?: number | undefined;
  /** What the backend compares: a version stamp, an ETag, a row version. */
  readonly version: unknown;
}

/** What a backend needs to be able to do. */
export interface CompareAndSetBackend {
  /** Reads a key with its version; a missing key has a version too. */
  load(key: string, signal?: AbortSignal): Promise<VersionedRecord>;
  /** Writes if the version is still the same; answers whether it was. */
  commit(key: string, version: unknown, write: Write, signal?: AbortSignal): Promise<boolean>;
}

/** Options of {@linkcode transactByCompareAndSet}. */
export interface CompareAndSetOptions {
  /** Whose time the transition sees, and who waits between tries. */
  readonly clock: Clock;
  /**
   * How often to try before giving up with a retryable `contention` error.
   * @default {64}
   */
  readonly attempts?: number;
  /** Gives up. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Gives any compare-and-set backend a `transact`: load, apply, commit, and again with jitter while others win.
 *
 * @throws {HoldfastError} `contention` when every attempt was overtaken; nothing was written
 */
export async function transactByCompareAndSet(
  backend: CompareAndSetBackend,
  transition: Transition,
  key: string,
  input: Fields,
  options: CompareAndSetOptions,
): Promise<Fields> {
  const { clock, attempts = 64, signal } = options;
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
