/**
 * Where sessions live: the small contract under `createSessions`. `atomicSessionStore` implements it over any
 * `AtomicStore`, `keyValueSessionStore` over what cannot change a key atomically, and a third party over
 * anything that passes `sessionStoreLaw`.
 *
 * Nothing here is an upsert. A change says whether it makes a session or wants one to be there, and the
 * answer says what became of it; so a slow request cannot bring back what another one ended. Keys are hashes
 * of tokens and never used twice; user keys are hashes of user ids.
 *
 * ## How a replicated store implements it
 *
 * `replicatedSessions(primary, secondary)` is an `IndexedSessionStore` over two of them:
 *
 * - `load` asks both sides. A tombstone on either is final. While one cannot be asked the other answers alone, the secondary
 *   with `degraded`. A primary that lacks versions which the copy has gets the copy back.
 * - `save` runs `create` or `update` on the primary, whose answer has the whole record with its new `version` and its absolute
 *   `endsAt`; `save(key, { type: "put", record })` stores it on the secondary as it is, remaining time included, only where its
 *   version is newer and no tombstone is.
 * - `delete` runs on both sides and leaves a `lasting` tombstone on each, with `absent: "bury"` also where nothing is, so that a
 *   copy on its way is refused. Tombstones must outlast what is on its way (`atomicSessionStore(store, { remember })`).
 * - `index`: `add` and `remove` travel like saves, `revoke` like a delete. Epochs only grow; where two sides differ, the union of
 *   the entries and the later epoch are right, since an entry is only a hint and the epoch is the truth.
 */
import type { CallOptions, ListPage } from "../store/key_value_store.ts";
import type { Fields } from "../store/transition.ts";
import type { SessionRecord } from "./session_record.ts";

/** Why a session is no more. */
export type SessionEnd = "rotated" | "revoked" | "expired";

/** What {@linkcode SessionStore.load} finds. */
export type SessionFound =
  | {
    /** It lives. */
    readonly state: "live";
    /** The session. */
    readonly record: SessionRecord;
    /** Whether this came from a copy that may be behind. */
    readonly degraded?: true;
  }
  | {
    /** It ended not long ago; a store that does not remember answers `unknown`. */
    readonly state: "ended";
    /** Why. */
    readonly why: SessionEnd;
    /**
     * How many milliseconds ago it was rotated or revoked, by the store's clock. A request that has been under way
     * for longer began before. A store without it takes part, with less: see `SessionNotes.endedMeanwhile`.
     */
    readonly ago?: number;
    /** What continues it, if it was rotated and the store knows; see `SessionDelete.next`. */
    readonly next?: string;
  }
  | {
    /** There is none, and never was as far as the store remembers. */
    readonly state: "unknown";
  };

/** A session that is to be made. */
export interface SessionCreate {
  /**
   * Makes a session where there is nothing, not even one that ended; the same handle again answers the same.
   */
  readonly type: "create";
  /** Its public name. */
  readonly handle: string;
  /** How long it lives without being touched, in milliseconds. */
  readonly idleTimeout: number;
  /** How long it lives at most, in milliseconds from its creation. */
  readonly absoluteTimeout: number;
  /** The version of the schema its data has. */
  readonly schemaVersion: number;
  /** Data and flash values, encoded. */
  readonly values: Fields;
  /** The user who is logged in. */
  readonly userId?: string | undefined;
  /** When they logged in; `"now"` by the store's clock. */
  readonly authenticatedAt?: number | "now" | undefined;
  /** What the epochs are compared with; without it, now. */
  readonly bornAt?: number | undefined;
  /**
   * When the session that this one continues was created, and when it ends; without it, a new life begins.
   */
  readonly continues?: { readonly createdAt: number; readonly endsAt: number } | undefined;
}

/** What changes in a session that must be there. */
export interface SessionUpdate {
  /** Merges into the live session and touches it. With nothing to set or unset it is a touch. */
  readonly type: "update";
  /** `d:*` and `f:*` to set. */
  readonly set?: Fields | undefined;
  /** `d:*` and `f:*` to unset. */
  readonly unset?: readonly string[] | undefined;
  /** Only if it is still at this version. */
  readonly ifVersion?: number | undefined;
  /** The schema version that the data has from now on; it never goes down. */
  readonly schemaVersion?: number | undefined;
  /** The version of the application that writes: a record of a later one is a `conflict`. */
  readonly writerVersion?: number | undefined;
  /** Whether it was just held against the epochs. */
  readonly checked?: boolean | undefined;
}

/** A copy of a session from elsewhere. */
export interface SessionPut {
  /**
   * Stores the record as it is where there is none or an older one; never over one that ended, never a dead
   * one.
   */
  readonly type: "put";
  /** The copy. */
  readonly record: SessionRecord;
  /**
   * Only over exactly this version, so that nothing which came meanwhile is overwritten; the copy may be of that version, too:
   * two stores that made different changes to one version become equal so.
   */
  readonly ifVersion?: number | undefined;
}

/** What is to become of a session. */
export type SessionChange = SessionCreate | SessionUpdate | SessionPut;

/** What became of a change. */
export type SessionSaved =
  | {
    /** It is stored. */
    readonly state: "saved";
    /** The session as it is now. */
    readonly record: SessionRecord;
  }
  | {
    /** Another version is there: `update` with `ifVersion`, or `put` of an older one. Nothing changed. */
    readonly state: "conflict";
    /** What is there. */
    readonly record: SessionRecord;
  }
  | {
    /** It ended, or the key is taken. Nothing changed. */
    readonly state: "ended";
    /** Why. */
    readonly why: SessionEnd;
    /** How many milliseconds ago it was rotated or revoked, by the store's clock. */
    readonly ago?: number;
    /** What continues it, if it was rotated and the store knows; see `SessionDelete.next`. */
    readonly next?: string;
  }
  | {
    /** Nothing there to update. Nothing changed. */
    readonly state: "unknown";
  };

/** How a session ends. */
export interface SessionDelete extends CallOptions {
  /** What late requests are told. */
  readonly why: Exclude<SessionEnd, "expired">;
  /**
   * Where nothing is: `"bury"` leaves a tombstone, so that one which is just being created is refused.
   * @default {"ignore"}
   */
  readonly absent?: "ignore" | "bury" | undefined;
  /**
   * Keeps the tombstone until the session would have ended by itself, for a store that may be set back to an older state.
   * @default {false}
   */
  readonly lasting?: boolean | undefined;
  /**
   * What continues this session, of the same user; an opaque text for the store, which `load` and `save` answer. It is
   * the key of the session that a rotation made (what requests under way write goes there, and a late logout ends
   * it), or `login:` and the key of one that a login began (a late logout does not end it).
   */
  readonly next?: string | undefined;
}

/** Where sessions live. Every read checks both timeouts, whatever the engine expires by itself. */
export interface SessionStore {
  /**
   * `atomic`: each call takes effect at once, everywhere. `eventual`: parallel changes may overwrite each
   * other and what ended may be seen elsewhere for a while; `createSessions` asks for `eventual: true`.
   */
  readonly consistency: "atomic" | "eventual";
  /** Looks a session up. */
  load(key: string, options?: CallOptions): Promise<SessionFound>;
  /** Makes or changes a session, in one step, and answers what became of it. */
  save(key: string, change: SessionChange, options?: CallOptions): Promise<SessionSaved>;
  /** Ends a session and answers what it was; of many callers one gets it. */
  delete(key: string, options: SessionDelete): Promise<SessionRecord | undefined>;
  /** Whether there is a live session. */
  exists(key: string, options?: CallOptions): Promise<boolean>;
  /**
   * Forgets what is left of a session that does not live; only where nothing expires by itself
   * (`sweepSessions`).
   */
  purge?(key: string, options?: CallOptions): Promise<void>;
  /** What is known about users; a store without it cannot list or end a user's sessions. */
  readonly index?: SessionIndex | undefined;
}

/** A store that knows whose sessions it keeps. */
export interface IndexedSessionStore extends SessionStore {
  /** What is known about users. */
  readonly index: SessionIndex;
}

/** A session store whose calls take effect at once. */
export type Atomic<Store extends SessionStore> = Store & { readonly consistency: "atomic" };

/** Where a session of a user is. */
export interface SessionEntry {
  /** Its public name. */
  readonly handle: string;
  /** The key of its record. */
  readonly key: string;
  /** When it was listed, shortly before it was created; in milliseconds since the epoch. */
  readonly listedAt: number;
  /** When it ends at the latest, in milliseconds since the epoch. */
  readonly endsAt: number;
}

/** What is known about a user, or about all users. */
export interface UserSessions {
  /** Sessions born before this are dead, whether an entry leads to them or not; 0 without a revocation. */
  readonly epoch: number;
  /** The handle of the one session the epoch spares. */
  readonly spared?: string;
  /** Where the sessions are; some may have ended. */
  readonly entries: readonly SessionEntry[];
}

/** What {@linkcode SessionIndex.add} answers. */
export type SessionAdded =
  | {
    /** It is listed. */
    readonly state: "added";
    /** When the session counts as born: not before the user's epoch. */
    readonly bornAt: number;
  }
  | {
    /** The session that this one continues was revoked. */
    readonly state: "stale";
  }
  | {
    /** There are as many as the limit allows. */
    readonly state: "full";
    /** Those, oldest first. */
    readonly entries: readonly SessionEntry[];
  };

/** Options of {@linkcode SessionIndex.add}. */
export interface SessionAddOptions extends CallOptions {
  /**
   * The session that this one continues: refused if it was revoked. Without it, the user has just logged in.
   */
  readonly continues?: { readonly handle: string; readonly bornAt: number } | undefined;
  /** The handle of a session that ends for this one, and so does not count; when it continues none. */
  readonly replaces?: string | undefined;
  /** How many there may be. */
  readonly limit?: number | undefined;
}

/** Options of {@linkcode SessionIndex.revoke}. */
export interface SessionRevokeOptions extends CallOptions {
  /** The handle to spare. */
  readonly except?: string | undefined;
  /** How long the epoch must be remembered, in milliseconds: as long as a session may live. */
  readonly remember: number;
  /** The epoch as another store decided it, for a copy: taken over where it is later. Without it, now. */
  readonly epoch?: number | undefined;
}

/** The user key that stands for all users; those of users are hashes. */
export const EVERYBODY = "everybody";

/**
 * Whose sessions are where. A session is listed before it is created: one that cannot be listed must not
 * exist.
 *
 * Entries are hints, the epoch is the truth: revoking raises the epoch in the same step that reads the
 * entries, then ends what they lead to. What no entry leads to any more is caught when its session is next
 * held against the epoch.
 */
export interface SessionIndex {
  /** Lists a session that is about to be created. */
  add(
    user: string,
    entry: Omit<SessionEntry, "listedAt">,
    options?: SessionAddOptions,
  ): Promise<SessionAdded>;
  /** Takes a session off the list. */
  remove(user: string, handle: string, options?: CallOptions): Promise<void>;
  /** What is known about a user. */
  read(user: string, options?: CallOptions): Promise<UserSessions>;
  /**
   * Makes every session born until now dead but one, and answers where they are, for the caller to delete.
   */
  revoke(user: string, options: SessionRevokeOptions): Promise<UserSessions>;
  /** A page of the keys of all sessions, some of which may have ended. */
  keys(
    options?: CallOptions & { readonly cursor?: string | undefined; readonly limit?: number },
  ): Promise<ListPage>;
}
