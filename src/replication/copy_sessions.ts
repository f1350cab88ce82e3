/** Moving sessions from one store to another, and tidying up. */
import { sha256 } from "../session/_sha256.ts";
import { isRevoked } from "../session/_user_wide.ts";
import type { SessionRecord } from "../session/session_record.ts";
import type { IndexedSessionStore, SessionStore } from "../session/session_store.ts";
import type { CallOptions } from "../store/key_value_store.ts";

/** How far a walk over all sessions has come. */
export interface SessionProgress {
  /** How many keys it has seen. */
  readonly seen: number;
  /** Where to go on if it breaks off; absent when it is through. */
  readonly cursor?: string;
}

/** What {@linkcode copySessions} did. */
export interface CopyReport extends SessionProgress {
  /** Stored in the other store; in a dry run, how many would be. */
  readonly copied: number;
  /** The other store had it, as new or newer. */
  readonly present: number;
  /** Ended, timed out or revoked: nothing to copy. */
  readonly ended: number;
  /** Could not be read, written or verified; run the copy again. */
  readonly failed: number;
  /** Why, once per failed session, without keys and values. */
  readonly errors: readonly { readonly handle?: string; readonly error: unknown }[];
}

/** Options of {@linkcode copySessions}. */
export interface CopySessionsOptions extends CallOptions {
  /**
   * Counts without writing.
   * @default {false}
   */
  readonly dryRun?: boolean;
  /**
   * Reads every copy back and compares it.
   * @default {false}
   */
  readonly verify?: boolean;
  /** Where an earlier run broke off. */
  readonly cursor?: string;
  /**
   * How many sessions at a time.
   * @default {50}
   */
  readonly batch?: number;
  /** Hears how far it is, after each batch. */
  readonly onProgress?: (report: CopyReport) => void;
}

/**
 * Copies every live session as it is, with the time it has left, while both stores are in use: what is newer stays, what
 * was ended stays ended. A user's sessions are listed in the other store, too. Errors do not stop it; run it again.
 *
 * @throws {RangeError} when `batch` is not a positive integer
 * @throws {HoldfastError} when the first store cannot list its sessions
 * @example
 * ```ts
 * import { atomicSessionStore, copySessions, createSessions, memoryStore } from "@holdfast/edge";
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
  const { dryRun = false, verify = false, batch = 50, onProgress, signal } = options;
  if (!(Number.isInteger(batch) && batch > 0)) {
    throw new RangeError(`Cannot copy as 'batch' must be a positive integer: current value is ${batch}`);
  }
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
    onProgress?.({ ...counts, errors: [...errors], ...(cursor !== undefined && { cursor }) });
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
    // Listed first, as at a login; revoked there meanwhile, it must not come to life.
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

function sameRecord(a: SessionRecord, b: SessionRecord): boolean {
  const text = ({ values, ...rest }: SessionRecord) =>
    JSON.stringify([Object.entries(rest).sort(), Object.entries(values).sort()]);
  return text(a) === text(b);
}

/** What {@linkcode sweepSessions} did. */
export interface SweepReport extends SessionProgress {
  /** Live sessions. */
  readonly live: number;
  /** Sessions that an epoch condemns and no entry led to: ended now. */
  readonly revoked: number;
  /** Remains that were forgotten, where the store has a `purge`. */
  readonly purged: number;
}

/** Options of {@linkcode sweepSessions}. */
export interface SweepSessionsOptions extends CallOptions {
  /** Where an earlier run broke off. */
  readonly cursor?: string;
  /**
   * How many sessions at a time.
   * @default {50}
   */
  readonly batch?: number;
  /** Hears how far it is, after each batch. */
  readonly onProgress?: (report: SweepReport) => void;
}

/**
 * Walks over all sessions: ends at once what a revocation condemned although its index was lost, and forgets the remains of
 * what ended where nothing expires by itself. Our own engines expire by themselves; a store of your own may not.
 *
 * @throws {RangeError} when `batch` is not a positive integer
 * @example
 * ```ts
 * import { atomicSessionStore, memoryStore, sweepSessions } from "@holdfast/edge";
 * const { live } = await sweepSessions(atomicSessionStore(memoryStore()));
 * if (live !== 0) throw new Error("unexpected");
 * ```
 */
export async function sweepSessions(
  store: IndexedSessionStore,
  options: SweepSessionsOptions = {},
): Promise<SweepReport> {
  const { batch = 50, onProgress, signal } = options;
  if (!(Number.isInteger(batch) && batch > 0)) {
    throw new RangeError(`Cannot sweep as 'batch' must be a positive integer: current value is ${batch}`);
  }
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
    onProgress?.({ ...counts, ...(cursor !== undefined && { cursor }) });
  } while (cursor !== undefined);
  return counts;
}
