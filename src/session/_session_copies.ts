/** How copies of sessions travel, and how a primary that forgot is given them back. */
import { HoldfastError } from "../errors.ts";
import type { Replication } from "./_replication.ts";
import type { Ending, Work } from "./_replication_work.ts";
import { NotReplicatedError } from "./replicated_error.ts";
import type { SessionRecord } from "./session_record.ts";
import type { IndexedSessionStore, SessionDelete, SessionFound, SessionSaved } from "./session_store.ts";

/** A copy learned longer ago is loaded again before it is shipped. */
const FRESH = 5_000;
/** What a forgetful primary is given back counts as newer than whatever it had written and forgotten. */
const LEAP = 1_000_000;
/** How often a copy may change while it is given back. */
const HEALERS = 8;

export class SessionCopies {
  readonly #both: Replication;

  constructor(both: Replication) {
    this.#both = both;
  }

  /**
   * Gives a session back to a primary that forgot it, or tells it that it ended. What the primary wrote before it forgot may
   * still be on its way to the secondary: the copy leaps ahead of all that first, in one step, so that of two histories one
   * goes on and the other is told.
   */
  async heal(key: string, signal?: AbortSignal): Promise<SessionFound> {
    const { primary, secondary } = this.#both;
    for (let round = 1;; round++) {
      const copy = await secondary.call("load", (store, signal) => store.load(key, { signal }), signal);
      if (copy.state === "unknown" || (copy.state === "ended" && copy.why === "expired")) return copy;
      if (copy.state === "ended") {
        const { why } = copy as { readonly why: SessionDelete["why"] };
        await primary.call(
          "heal",
          (store, signal) => store.delete(key, { why, absent: "bury", signal }),
          signal,
        );
        return copy;
      }
      const { version: ifVersion } = copy.record;
      const put = { type: "put", record: { ...copy.record, version: ifVersion + LEAP } } as const;
      const leapt = await secondary.call(
        "heal",
        (store, signal) => store.save(key, { ...put, ifVersion }, { signal }),
        signal,
      );
      if (leapt.state !== "saved") {
        if (round < HEALERS) continue;
        throw new HoldfastError("contention", "Cannot give the session back as others change it", {
          retryable: true,
        });
      }
      let saved: SessionSaved;
      try {
        saved = await primary.call("heal", (store, signal) => store.save(key, put, { signal }), signal);
      } catch (error) {
        await this.#both.failed("session", key, undefined, error);
        throw error;
      }
      return "record" in saved ? { state: "live", record: saved.record } : saved;
    }
  }

  /** Brings the secondary up to date about a session. */
  async ship(work: Work): Promise<void> {
    const { primary, clock, options } = this.#both;
    const { id, end, record, owed, lost } = work; // what is lost from here on is the next shipment's to tell
    if (end !== undefined) return await this.#shipEnd(work, end);
    work.record = undefined;
    let found: SessionFound = record !== undefined && clock.monotonic() - record.at < FRESH
      ? { state: "live", record: record.value }
      : await primary.call("load", (store, signal) => store.load(id, { signal }));
    if (found.state === "unknown" && options.primaryForgets) found = await this.heal(id);
    let goesOn = true;
    if (found.state === "live") goesOn = await this.copy(id, found.record);
    else if (found.state === "ended" && found.why !== "expired") await this.bury("secondary", id, found.why);
    work.lost -= lost;
    if (work.owed === owed) work.owed = 0;
    // What was answered for but not shipped before the primary forgot it is gone, and whoever waits must hear it.
    const gone = lost > 0 || (owed > 0 && !(goesOn && continues(found, owed)));
    if (options.primaryForgets && gone) throw new NotReplicatedError("neither", false);
  }

  async #shipEnd(work: Work, end: Ending): Promise<void> {
    if (end.secondary) await this.bury("secondary", work.id, end.why);
    end.secondary = false;
    // Until the copy was buried, a primary that forgets may have been given it back.
    if (end.primary || this.#both.options.primaryForgets) {
      end.taken ??= await this.bury("primary", work.id, end.why);
    }
    end.primary = false;
    work.record = undefined;
    if (work.end === end) work.end = undefined;
  }

  /** Gives the secondary a copy; whether the history it belongs to is still the one that counts. */
  async copy(key: string, record: SessionRecord): Promise<boolean> {
    const { primary, secondary } = this.#both;
    const put = (store: IndexedSessionStore, record: SessionRecord, signal: AbortSignal) =>
      store.save(key, { type: "put", record }, { signal });
    const saved = await secondary.call("ship", (store, signal) => put(store, record, signal));
    if (saved.state === "conflict" && !continues({ state: "live", record: saved.record }, record.version)) {
      // The primary forgot, and another isolate began a new history on the copy: both go on with that one.
      await primary.call("heal", (store, signal) => put(store, saved.record, signal));
      return false;
    }
    // A grave on the secondary alone: somebody's delete did not reach the primary. It was meant.
    if (saved.state === "ended" && saved.why !== "expired") await this.bury("primary", key, saved.why);
    return true;
  }

  /** Ends a session on one side, whether it knows it or not. */
  async bury(
    side: "primary" | "secondary",
    key: string,
    why: SessionDelete["why"],
  ): Promise<SessionRecord | undefined> {
    return await this.#both[side].call(
      "ship",
      (store, signal) => store.delete(key, { why, absent: "bury", signal }),
    );
  }
}

/** Whether the history of what was found goes on from that version. */
function continues(found: SessionFound, version: number): boolean {
  if (found.state !== "live") return found.state === "ended";
  return found.record.version >= version && found.record.version < version + LEAP / 2;
}

/** Notes the record that a write answered, to be shipped; counts what another history has taken the place of. */
export function learn(work: Work, record: SessionRecord, at: number): void {
  // Answers arrive in any order: an older one says nothing, even if the newer one was tried and failed. But of an older history
  // it says that it is gone.
  if (record.version <= work.newest) {
    if (work.newest >= record.version + LEAP / 2) work.lost++;
    return;
  }
  if (work.owed > 0 && !continues({ state: "live", record }, work.owed)) work.lost++;
  work.owed = work.newest = record.version;
  work.record = { value: record, at };
}
