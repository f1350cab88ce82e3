/** Copies sessions from one store to another, and removes the remains of ended ones. */
import { sha256 } from "../sha256.ts";
import { isRevoked } from "../session/_user_wide.ts";
import type { SessionRecord } from "../session/session_record.ts";
import type { IndexedSessionStore, SessionStore } from "../session/session_store.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import { checkFunction, checkInteger, checkOptionNames, type OptionNames } from "../validate.ts";
import { sameRecord } from "./read_plan.ts";

/**
 * The progress of a walk over all sessions.
 *
 * @category Session replication
 */
export interface SessionProgress {
  /** The number of keys seen. */
  readonly seen: number;
  /** The place to continue at after a break; absent at the end. */
  readonly cursor?: string;
}

/**
 * The result of {@linkcode copySessions}.
 *
 * @category Session replication
 */
export interface CopyReport extends SessionProgress {
  /** The number stored in the other store; in a dry run, the number that would be. */
  readonly copied: number;
  /** The number that the other store had already, as new or newer. */
  readonly present: number;
  /** The number of ended, timed out or revoked sessions: nothing to copy. */
  readonly ended: number;
  /** The number that could not be read, written or verified; run the copy again. */
  readonly failed: number;
  /** One error per failed session, without keys and values. */
  readonly errors: readonly { readonly handle?: string; readonly error: unknown }[];
}

/**
 * Options of {@linkcode copySessions}.
 *
 * @category Session replication
 */
export interface CopySessionsOptions extends CallOptions {
  /**
   * Counts without writing.
   * @default {false}
   */
  readonly dryRun?: boolean | undefined;
  /**
   * Reads every copy back and compares it.
   * @default {false}
   */
  readonly verify?: boolean | undefined;
  /** The `cursor` of an earlier run's last report. */
  readonly cursor?: string | undefined;
  /**
   * The number of sessions at a time.
   * @default {50}
   */
  readonly batch?: number | undefined;
  /** Called after each batch; what it throws ends the run. */
  readonly onProgress?: ((report: CopyReport) => void) | undefined;
}

const SWEEP_OPTIONS = {
  cursor: true,
  batch: true,
  onProgress: true,
  signal: true,
} satisfies OptionNames<SweepSessionsOptions>;
const COPY_OPTIONS = { ...SWEEP_OPTIONS, dryRun: true, verify: true } satisfies OptionNames<
  CopySessionsOptions
>;

/**
 * Copies every live session as it is, with the time it has left, while both stores are in use: what is newer
 * stays, what was ended stays ended. A user's sessions are listed in the other store, too. Errors do not stop
 * it; run it again.
 *
 * @throws {TypeError} when an option is unknown
 * @throws {RangeError} when `batch` is not a positive integer
 * @throws {HoldfastError} when the first store cannot list its sessions
 * @category Session replication
 * @example
 * ```ts
 * import { createSessions, memoryStore } from "@holdfast/edge";
 * import { atomicSessionStore, copySessions } from "@holdfast/edge/sessions";
 * const [from, to] = [atomicSessionStore(memoryStore()), atomicSessionStore(memoryStore())];
 * const session = createSessions(from).open(null);
 * session.login("ada");
 * const cookie = await createSessions(from).commit(session);
 * const { copied, failed } = await copySessions(from, to, { verify: true });
 * if (copied !== 1 || failed !== 0) throw new Error("unexpected");
 * if (await createSessions(to).open(cookie!.split(";")[0]).userId() !== "ada") throw new Error("unexpected");
 * ```
 */
export async function copySessions(
  from: IndexedSessionStore,
  to: SessionStore,
  options: CopySessionsOptions = {},
): Promise<CopyReport> {
  checkOptionNames("copy sessions", options, COPY_OPTIONS);
  const { dryRun = false, verify = false, batch = 50, onProgress, signal } = options;
  checkInteger("copy sessions", "batch", batch);
  checkFunction("copy sessions", "onProgress", onProgress);
  const counts = { seen: 0, copied: 0, present: 0, ended: 0, failed: 0 };
  const errors: { handle?: string; error: unknown }[] = [];
  let cursor = options.cursor;
  do {
    const page = await from.index.keys({ cursor, limit: batch, signal });
    await Promise.all(page.keys.map(async (key) => {
      let handle: string | undefined;
      try {
        const found = await from.load(key, { signal });
        if (found.state !== "live" || await isRevoked(from.index, found.record)) return void counts.ended++;
        handle = found.record.handle;
        if (dryRun) counts[await to.exists(key, { signal }) ? "present" : "copied"]++;
        else counts[await copy(to, key, found.record, verify, signal)]++;
      } catch (error) {
        signal?.throwIfAborted();
        counts.failed++;
        errors.push({ ...(handle !== undefined && { handle }), error });
      }
    }));
    counts.seen += page.keys.length;
    cursor = page.cursor;
    await onProgress?.({ ...counts, errors: [...errors], ...(cursor !== undefined && { cursor }) });
  } while (cursor !== undefined);
  return { ...counts, errors };
}

async function copy(
  to: SessionStore,
  key: string,
  record: SessionRecord,
  verify: boolean,
  signal: AbortSignal | undefined,
): Promise<"copied" | "present" | "ended"> {
  const { userId, handle, endsAt, bornAt } = record;
  if (userId !== undefined && to.index !== undefined) {
    // Listed first, as at a login; if it was revoked there meanwhile, it must not be created.
    const continues = { handle, bornAt };
    const added = await to.index.add(sha256(userId), { handle, key, endsAt }, { continues, signal });
    if (added.state === "stale") return "ended";
  }
  const saved = await to.save(key, { type: "put", record }, { signal });
  if (saved.state === "conflict") return "present";
  if (saved.state !== "saved") return "ended";
  if (verify) {
    const found = await to.load(key, { signal });
    const same = found.state === "live" &&
      (found.record.version > record.version || sameRecord(found.record, record));
    if (!same) throw new Error("Cannot verify the copy as it reads differently");
  }
  return "copied";
}

/**
 * The result of {@linkcode sweepSessions}.
 *
 * @category Session replication
 */
export interface SweepReport extends SessionProgress {
  /** The number of live sessions. */
  readonly live: number;
  /** The number of sessions that were revoked but missing from the index: ended now. */
  readonly revoked: number;
  /** The number of ended sessions whose remains were removed, where the store has a `purge`. */
  readonly purged: number;
}

/**
 * Options of {@linkcode sweepSessions}.
 *
 * @category Session replication
 */
export interface SweepSessionsOptions extends CallOptions {
  /** The `cursor` of an earlier run's last report. */
  readonly cursor?: string | undefined;
  /**
   * The number of sessions at a time.
   * @default {50}
   */
  readonly batch?: number | undefined;
  /** Called after each batch; what it throws ends the run. */
  readonly onProgress?: ((report: SweepReport) => void) | undefined;
}

/**
 * Walks over all sessions: ends those that were revoked although their index entry was lost, and removes the
 * remains of ended ones where nothing expires by itself. Our own engines expire by themselves; a store of
 * your own may not. On `replicatedSessions` it also compares both sides of every session, and repairs what
 * differs: run it from cron. A session that cannot be read ends the walk with its error; go on at the
 * `cursor` of the last report.
 *
 * @throws {TypeError} when an option is unknown
 * @throws {RangeError} when `batch` is not a positive integer
 * @throws {HoldfastError} when the store cannot list, read or end a session
 * @category Session replication
 * @example
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { atomicSessionStore, sweepSessions } from "@holdfast/edge/sessions";
 * const { live } = await sweepSessions(atomicSessionStore(memoryStore()));
 * if (live !== 0) throw new Error("unexpected");
 * ```
 */
export async function sweepSessions(
  store: IndexedSessionStore,
  options: SweepSessionsOptions = {},
): Promise<SweepReport> {
  checkOptionNames("sweep sessions", options, SWEEP_OPTIONS);
  const { batch = 50, onProgress, signal } = options;
  checkInteger("sweep sessions", "batch", batch);
  checkFunction("sweep sessions", "onProgress", onProgress);
  const counts = { seen: 0, live: 0, revoked: 0, purged: 0 };
  let cursor = options.cursor;
  do {
    const page = await store.index.keys({ cursor, limit: batch, signal });
    await Promise.all(page.keys.map(async (key) => {
      const found = await store.load(key, { signal });
      if (found.state !== "live") {
        if (store.purge === undefined) return;
        await store.purge(key, { signal });
        counts.purged++;
      } else if (await isRevoked(store.index, found.record)) {
        await store.delete(key, { why: "revoked", signal });
        counts.revoked++;
      } else counts.live++;
    }));
    counts.seen += page.keys.length;
    cursor = page.cursor;
    await onProgress?.({ ...counts, ...(cursor !== undefined && { cursor }) });
  } while (cursor !== undefined);
  return counts;
}
