/** Operations on all sessions of a user, or of all users. */
import type { Clock } from "../clock.ts";
import { HoldfastError } from "../errors.ts";
import { sha256 } from "../sha256.ts";
import type { ListPage } from "../store/key_value_store.ts";
import type { SessionEvent } from "./session_event.ts";
import type { SessionRecord } from "./session_record.ts";
import {
  ALL_USERS,
  type SessionAddOptions,
  type SessionEntry,
  type SessionIndex,
  type SessionStore,
} from "./session_store.ts";

/** A session and where it is. */
interface Located {
  readonly entry: SessionEntry;
  readonly record: SessionRecord;
}

/** Options of {@linkcode UserWide}. */
interface UserWideOptions {
  readonly limit: number;
  readonly evict: boolean;
  readonly absolute: number;
  readonly clock: Clock;
}

/**
 * The time after which an entry without a session is removed, in milliseconds: a session is created shortly
 * after it was listed.
 */
const CREATED_WITHIN = 60_000;

/** Tells whether an epoch revokes the session: its user's or that of all users. */
export async function isRevoked(index: SessionIndex, record: SessionRecord): Promise<boolean> {
  const [all, user] = await Promise.all([
    index.read(ALL_USERS),
    record.userId === undefined ? undefined : index.read(sha256(record.userId)),
  ]);
  if (record.bornAt < all.epoch) return true;
  return user !== undefined && record.bornAt < user.epoch && user.spared !== record.handle;
}

export class UserWide {
  readonly index: SessionIndex;
  readonly #store: SessionStore;
  readonly #emit: (event: SessionEvent) => void;
  readonly #options: UserWideOptions;

  constructor(
    store: SessionStore,
    index: SessionIndex,
    emit: (event: SessionEvent) => void,
    options: UserWideOptions,
  ) {
    this.index = index;
    this.#store = store;
    this.#emit = emit;
    this.#options = options;
  }

  /**
   * Lists a session before its creation, and answers its `bornAt`. Ends the oldest ones when the limit is
   * reached.
   */
  async list(
    userId: string,
    entry: Omit<SessionEntry, "listedAt">,
    options: Pick<SessionAddOptions, "continues" | "replaces">,
  ): Promise<number | "stale"> {
    const user = sha256(userId);
    const { limit, evict } = this.#options;
    // Each round ends one session, but a parallel login may take its place.
    for (let round = 0; round < 16; round++) {
      const added = await this.index.add(user, entry, { ...options, limit });
      if (added.state === "added") return added.bornAt;
      if (added.state === "stale") return "stale";
      const { live, forgotten } = await this.#live(user, added.entries, 0);
      if (forgotten > 0) continue;
      const [oldest] = live.sort((a, b) => a.record.createdAt - b.record.createdAt);
      if (!evict || oldest === undefined) break;
      await this.#end(user, oldest.entry, "evicted", userId);
    }
    this.#emit({ type: "refused", userId });
    throw new HoldfastError("session-limit", "Cannot log in as the user has as many sessions as allowed");
  }

  /** Takes a session off the list. */
  async remove(userId: string, handle: string): Promise<void> {
    await this.index.remove(sha256(userId), handle);
  }

  /** The live sessions of a user. */
  async live(userId: string): Promise<Located[]> {
    const user = sha256(userId);
    const { entries, epoch, spared } = await this.index.read(user);
    return (await this.#live(user, entries, epoch, spared)).live;
  }

  /** Loads the sessions of entries; entries without a live session are removed. */
  async #live(
    user: string,
    entries: readonly SessionEntry[],
    epoch: number,
    spared?: string,
  ): Promise<{ live: Located[]; forgotten: number }> {
    let forgotten = 0;
    const found = await Promise.all(entries.map(async (entry): Promise<Located[]> => {
      const session = await this.#store.load(entry.key);
      if (session.state === "live") {
        const { record } = session;
        return record.bornAt >= epoch || entry.handle === spared ? [{ entry, record }] : [];
      }
      const young = this.#options.clock.now() - entry.listedAt < CREATED_WITHIN;
      if (session.state === "unknown" && young) return [];
      forgotten++;
      await this.index.remove(user, entry.handle);
      return [];
    }));
    return { live: found.flat(), forgotten };
  }

  /** Ends one session of a user. */
  async end(userId: string, handle: string): Promise<boolean> {
    const user = sha256(userId);
    const entry = (await this.index.read(user)).entries.find((entry) => entry.handle === handle);
    return entry !== undefined && await this.#end(user, entry, "revoked", userId);
  }

  async #end(
    user: string,
    entry: SessionEntry,
    type: "revoked" | "evicted",
    userId: string,
  ): Promise<boolean> {
    // A session that is just being created finds the tombstone.
    const last = await this.#store.delete(entry.key, { why: "revoked", absent: "tombstone" });
    await this.index.remove(user, entry.handle);
    if (last !== undefined) this.#emit({ type, handle: entry.handle, userId });
    return last !== undefined;
  }

  /** Ends all sessions of a user but one. */
  async revoke(userId: string, except: string | undefined): Promise<number> {
    const user = sha256(userId);
    const { entries } = await this.index.revoke(user, { except, remember: this.#options.absolute });
    const doomed = entries.filter(({ handle }) => handle !== except);
    const ended = await Promise.all(doomed.map((entry) => this.#end(user, entry, "revoked", userId)));
    return ended.filter(Boolean).length;
  }

  /** Ends all sessions of all users: those that can be listed at once, the others by the epoch. */
  async revokeAll(): Promise<number> {
    await this.index.revoke(ALL_USERS, { remember: this.#options.absolute });
    let ended = 0;
    let cursor: string | undefined;
    do {
      const page = await this.#page(cursor);
      const last = await Promise.all(page.keys.map((key) => this.#store.delete(key, { why: "revoked" })));
      for (const record of last) {
        if (record === undefined) continue;
        ended++;
        const { handle, userId } = record;
        this.#emit({ type: "revoked", handle, ...(userId !== undefined && { userId }) });
      }
      cursor = page.cursor;
    } while (cursor !== undefined);
    return ended;
  }

  /** An engine that cannot list says so with a `TypeError`. */
  async #page(cursor: string | undefined): Promise<ListPage> {
    try {
      return await this.index.keys({ cursor });
    } catch (error) {
      if (error instanceof TypeError) return { keys: [] };
      throw error;
    }
  }
}
