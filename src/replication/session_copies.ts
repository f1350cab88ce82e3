/**
 * Ships copies of sessions to the secondary, and restores the sessions of a primary that lost them.
 *
 * Versions order the writes of one history: the record with the larger one is newer. When the primary loses
 * records and goes on from an older version, or from none, a session has two histories, and their versions
 * mean nothing to each other. Then the copy's history counts: `restore` raises the copy's version by
 * `VERSION_GAP`, so that every record of the other history is older, and its writers learn by the distance
 * that their writes are lost (`continues`).
 */
import { HoldfastError } from "../errors.ts";
import type { SessionRecord } from "../session/session_record.ts";
import type {
  IndexedSessionStore,
  SessionDelete,
  SessionFound,
  SessionSaved,
} from "../session/session_store.ts";
import { NotReplicatedError } from "./not_replicated_error.ts";
import { isEnded, sameChange, sameRecord } from "./read_plan.ts";
import type { Replicator } from "./replicator.ts";
import type { Ending, Work } from "./work.ts";

/** A record returned longer ago, in milliseconds, is loaded again before it is shipped. */
const FRESH = 5_000;
/**
 * The number by which a restore raises the version: more than the writes that the primary may have made and
 * lost, so that all of them are older than the restored record. Two versions that differ by half of it or
 * more belong to two histories.
 */
const VERSION_GAP = 1_000_000;
/** The number of times a comparison is repeated because another isolate changed the copy meanwhile. */
const MAX_ROUNDS = 8;

export class SessionCopies {
  readonly #replicator: Replicator;

  constructor(replicator: Replicator) {
    this.#replicator = replicator;
  }

  /**
   * Gives the secondary's copy back to a primary that lost it, or tells the primary that the session ended.
   *
   * Records of the lost history may still be on their way to the secondary. So the version is raised there
   * first, by a write that is bound to the version that was read: late records are then refused as older, and
   * of two isolates that restore at once one succeeds.
   *
   * @throws {HoldfastError} `contention` when the copy changes all the time
   */
  async restore(key: string, signal?: AbortSignal): Promise<SessionFound> {
    const { primary, secondary } = this.#replicator;
    for (let round = 1; round <= MAX_ROUNDS; round++) {
      const copy = await secondary.call("compare", (store, signal) => store.load(key, { signal }), {
        signal,
      });
      if (isEnded(copy)) {
        await this.end("primary", key, copy, signal);
        return copy;
      }
      if (copy.state !== "live") return copy;
      // Asked after the copy answered: a primary that lost nothing has at least the copy's version by then.
      const known = await primary.call("load", (store, signal) => store.load(key, { signal }), { signal });
      if (isEnded(known)) await this.end("secondary", key, known, signal);
      if (known.state === "ended") {
        return isEnded(known) ? known : await this.#revive(key, known, copy.record);
      }
      if (known.state === "live" && known.record.version >= copy.record.version) return known;
      const { version: ifVersion } = copy.record;
      const put = { type: "put", record: { ...copy.record, version: ifVersion + VERSION_GAP } } as const;
      const raised = await secondary.call(
        "repair",
        (store, signal) => store.save(key, { ...put, ifVersion }, { signal }),
        { signal },
      );
      if (raised.state !== "saved") continue;
      return await this.#putBack(key, put, signal);
    }
    throw contention();
  }

  async #putBack(
    key: string,
    put: { readonly type: "put"; readonly record: SessionRecord },
    signal: AbortSignal | undefined,
  ): Promise<SessionFound> {
    let saved: SessionSaved;
    try {
      saved = await this.#replicator.primary.call(
        "repair",
        (store, signal) => store.save(key, put, { signal }),
        { signal, late: () => this.#replicator.effectCameLate("session", key) },
      );
    } catch (error) {
      await this.#replicator.failed("session", key, undefined, error);
      throw error;
    }
    return "record" in saved ? { state: "live", record: saved.record } : saved;
  }

  /** Brings the secondary up to date about a session. */
  async ship(work: Work): Promise<void> {
    const { primary, clock } = this.#replicator;
    // Writes that are found to be lost from here on are reported by the next shipment.
    const { id, end, record, pendingVersion, lostWrites } = work;
    if (end !== undefined) return await this.#shipEnd(work, end);
    work.record = undefined;
    work.lateVersion = 0;
    let found: SessionFound = record !== undefined && clock.monotonic() - record.at < FRESH
      ? { state: "live", record: record.value }
      : await primary.call("load", (store, signal) => store.load(id, { signal }));
    let counts = true;
    if (found.state === "live") counts = await this.copy(id, found.record);
    else if (isEnded(found)) await this.end("secondary", id, found);
    else found = await this.#restoreIfLive(id, found);
    work.lostWrites -= lostWrites;
    // A write that was answered meanwhile, out of order, waits for the next shipment, which must know its
    // version: the primary may have lost it with the others.
    if (work.pendingVersion === pendingVersion) work.pendingVersion = work.lateVersion;
    // A write that the primary lost before it was shipped is gone, and its waiter must be told.
    const gone = lostWrites > 0 || (pendingVersion > 0 && !(counts && continues(found, pendingVersion)));
    if (gone) throw new NotReplicatedError("neither", false);
  }

  /** The primary knows no live session: if the copy lives, the primary lost it, or the two clocks differ. */
  async #restoreIfLive(key: string, found: SessionFound): Promise<SessionFound> {
    const restored = await this.restore(key);
    return restored.state === "unknown" ? found : restored;
  }

  /** Timed out on the primary: the copy counts only if it is newer, and lives by the primary's clock, too. */
  async #revive(key: string, found: SessionFound, record: SessionRecord): Promise<SessionFound> {
    const saved = await this.#put("primary", key, record);
    return saved.state === "saved" ? { state: "live", record } : found;
  }

  async #shipEnd(work: Work, end: Ending): Promise<void> {
    if (end.secondary) await this.end("secondary", work.id, end);
    end.secondary = false;
    // Always the primary, too: until the copy was ended, the primary may have been given it back.
    end.taken ??= await this.end("primary", work.id, end);
    end.primary = false;
    work.record = undefined;
    if (work.end === end) work.end = undefined;
  }

  /**
   * Gives the secondary a copy of what the primary has. Returns whether the record's history is still the one
   * that counts: `false` means that the primary lost it, and that the write which made the record is gone.
   */
  async copy(key: string, record: SessionRecord): Promise<boolean> {
    for (let round = 1; round <= MAX_ROUNDS; round++) {
      const saved = await this.#put("secondary", key, record);
      // A tombstone on the secondary alone: a delete that did not reach the primary. It is final.
      if (saved.state === "ended" && saved.why !== "expired") await this.#endPrimary(key, saved.why);
      if (saved.state !== "conflict" || sameRecord(saved.record, record)) return true;
      // The same change under two clocks: the primary's times count.
      const same = sameChange(saved.record, record);
      if (same && (await this.#put("secondary", key, record, record.version)).state === "saved") return true;
      const counts = same ? undefined : await this.#resolve(key, record, saved.record);
      if (counts !== undefined) return counts;
    }
    throw contention();
  }

  /**
   * The secondary has another record that is as new as the one to be copied, or newer. Returns what
   * {@linkcode copy} does, or `undefined` if another isolate was faster.
   */
  async #resolve(key: string, record: SessionRecord, there: SessionRecord): Promise<boolean | undefined> {
    const { primary } = this.#replicator;
    const known = await primary.call("load", (store, signal) => store.load(key, { signal }));
    if (isEnded(known)) {
      await this.end("secondary", key, known);
      return true;
    }
    if (known.state !== "live" || known.record.version < there.version) {
      // The primary lacks versions that the copy has.
      await this.restore(key);
      return false;
    }
    const now = known.record;
    const counts = continues(known, record.version) &&
      (now.version > record.version || sameRecord(now, record));
    if (sameRecord(now, there)) return counts;
    if (now.version > there.version) {
      // Written meanwhile: copied here, in case its own isolate does not.
      const copied = await this.copy(key, now);
      return counts && copied;
    }
    // Two different changes made this version, on either side. The primary's counts, under a version of its
    // own, so that no write which is bound to the old one mistakes it for the other.
    const next = { ...now, version: now.version + 1 };
    if ((await this.#put("primary", key, next, now.version)).state !== "saved") return undefined;
    const copied = await this.copy(key, next);
    return counts && copied;
  }

  async #put(
    side: "primary" | "secondary",
    key: string,
    record: SessionRecord,
    ifVersion?: number,
  ): Promise<SessionSaved> {
    const put = { type: "put", record, ifVersion } as const;
    return await this.#replicator[side].call(
      side === "primary" ? "repair" : "ship",
      (store, signal) => store.save(key, put, { signal }),
    );
  }

  /**
   * Gives the primary the secondary's tombstone, and with it the way to the session that continues this one.
   */
  async #endPrimary(key: string, why: SessionDelete["why"]): Promise<void> {
    const copy = await this.#replicator.secondary.call(
      "compare",
      (store, signal) => store.load(key, { signal }),
    );
    await this.end("primary", key, isEnded(copy) ? copy : { why });
  }

  /**
   * Leaves a tombstone on one side, whether it knows the session or not; returns the session if it lived
   * there.
   */
  async end(
    side: "primary" | "secondary",
    key: string,
    { why, next }: Pick<SessionDelete, "why" | "next">,
    signal?: AbortSignal,
  ): Promise<SessionRecord | undefined> {
    return await this.#replicator[side].call(
      "ship",
      (store: IndexedSessionStore, signal) =>
        store.delete(key, { why, next, absent: "tombstone", lasting: true, signal }),
      { signal },
    );
  }
}

function contention(): HoldfastError {
  return new HoldfastError("contention", "Cannot compare the two sides as the copy changes all the time", {
    retryable: true,
  });
}

/**
 * True if the write that made `version` is part of what was found: a record that is at least as new, with no
 * restore between the two. A tombstone contains every write.
 */
function continues(found: SessionFound, version: number): boolean {
  if (found.state !== "live") return found.state === "ended";
  return found.record.version >= version && found.record.version < version + VERSION_GAP / 2;
}

/**
 * Notes the record that a write returned, to be shipped, and counts the writes that it proves lost. Answers
 * arrive in any order. One with an older version is a late answer; if a restore lies between, its write was
 * lost. One with a newer version proves the noted write lost if a restore lies between those two.
 */
export function recordWrite(work: Work, record: SessionRecord, at: number): void {
  const { version } = record;
  if (version <= work.latestVersion) {
    if (work.latestVersion >= version + VERSION_GAP / 2) work.lostWrites++;
    else {
      work.lateVersion = version;
      work.pendingVersion ||= version;
    }
    return;
  }
  if (work.pendingVersion > 0 && !continues({ state: "live", record }, work.pendingVersion)) {
    work.lostWrites++;
  }
  work.pendingVersion = work.latestVersion = version;
  work.record = { value: record, at };
}
