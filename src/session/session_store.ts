/**
 * The contract of session stores, under `createSessions`. `atomicSessionStore` implements it over any
 * `AtomicStore`, `keyValueSessionStore` over a store that cannot change a key atomically, and a third party
 * over anything that passes `sessionStoreLaw`.
 *
 * No operation is an upsert. A change says whether it creates a session or needs an existing one, and the
 * result says whether it was applied, so a slow request cannot bring back a session that another request
 * ended. Keys are hashes of tokens and are never used twice; user keys are hashes of user ids.
 *
 * ## The implementation of a replicated store
 *
 * `replicatedSessions(primary, secondary)` is an `IndexedSessionStore` over two of them:
 *
 * - `load` asks both sides. A tombstone on either is final. While one cannot be asked the other answers
 *   alone, the secondary with `degraded`. A primary that lacks versions which the copy has gets the copy
 *   back.
 * - `save` runs `create` or `update` on the primary, whose answer has the whole record with its new `version`
 *   and its absolute `endsAt`; `save(key, { type: "put", record })` stores it on the secondary as it is,
 *   remaining time included, only where its version is newer and no tombstone is.
 * - `delete` runs on both sides and leaves a `lasting` tombstone on each, with `absent: "tombstone"` also
 *   where nothing is, so that a copy on its way is refused. Tombstones must outlast what is on its way
 *   (`atomicSessionStore(store, { remember })`).
 * - `index`: `add` and `remove` travel like saves, `revoke` like a delete. Epochs only grow; where two sides
 *   differ, the union of the entries and the later epoch are right, since an entry is only a hint and the
 *   epoch is the truth.
 */
import type { CallOptions, ListPage } from "../store/key_value_store.ts";
import type { Fields } from "../store/transition.ts";
import type { SessionRecord } from "./session_record.ts";

/**
 * The reason for which a session ended.
 *
 * @category Session stores
 */
export type SessionEnd = "rotated" | "revoked" | "expired";

/**
 * The result of {@linkcode SessionStore.load}.
 *
 * @category Session stores
 */
export type SessionFound =
  | {
    /** The session is live. */
    readonly state: "live";
    /** The session. */
    readonly record: SessionRecord;
    /** Whether the record comes from a copy that may be out of date. */
    readonly degraded?: true;
  }
  | {
    /** The session ended not long ago. A store without tombstones answers `unknown` instead. */
    readonly state: "ended";
    /** The reason. */
    readonly why: SessionEnd;
    /**
     * The milliseconds since it was rotated or revoked, by the store's clock. A request that has been under
     * way for longer began before. A store without it takes part, with less: see
     * `SessionNotes.endedMeanwhile`.
     */
    readonly ago?: number;
    /**
     * The key of the session that continues it, if it was rotated and the store knows; see
     * `SessionDelete.next`.
     */
    readonly next?: string;
  }
  | {
    /** The store has neither the session nor a tombstone. */
    readonly state: "unknown";
  };

/**
 * The creation of a session.
 *
 * @category Session stores
 */
export interface SessionCreate {
  /**
   * Creates a session under a key that has neither a session nor a tombstone. A repetition with the same
   * handle gives the same result.
   */
  readonly type: "create";
  /** The public name. */
  readonly handle: string;
  /** The time that it lives without being touched, in milliseconds. */
  readonly idleTimeout: number;
  /** The maximum time that it lives, in milliseconds from its creation. */
  readonly absoluteTimeout: number;
  /** The schema version of its data. */
  readonly schemaVersion: number;
  /** Data and flash values, encoded. */
  readonly values: Fields;
  /** The user who is logged in. */
  readonly userId?: string | undefined;
  /** The time of the login in milliseconds since the epoch; `"now"` is the time of the store's clock. */
  readonly authenticatedAt?: number | "now" | undefined;
  /** The time that is compared with the epochs; now if absent. */
  readonly bornAt?: number | undefined;
  /**
   * The creation and the end of the session that this one continues, so that a rotation extends no absolute
   * timeout. Without it the absolute timeout begins now.
   */
  readonly continues?: { readonly createdAt: number; readonly endsAt: number } | undefined;
}

/**
 * A change of an existing session.
 *
 * @category Session stores
 */
export interface SessionUpdate {
  /** Merges into the live session and touches it. With nothing to set or unset it is a touch. */
  readonly type: "update";
  /** `d:*` and `f:*` to set. */
  readonly set?: Fields | undefined;
  /** `d:*` and `f:*` to unset. */
  readonly unset?: readonly string[] | undefined;
  /** The version that the session must have; another one is a `conflict`. */
  readonly ifVersion?: number | undefined;
  /** The schema version that the data has from now on; it never goes down. */
  readonly schemaVersion?: number | undefined;
  /** The version of the application that writes: a record of a later one is a `conflict`. */
  readonly writerVersion?: number | undefined;
  /** Whether the session was just compared with the epochs. */
  readonly checked?: boolean | undefined;
}

/**
 * A copy of a session from another store.
 *
 * @category Session stores
 */
export interface SessionPut {
  /**
   * Stores the record as it is, under a key that has none or an older one. It never replaces a tombstone, and
   * never stores an expired record.
   */
  readonly type: "put";
  /** The copy. */
  readonly record: SessionRecord;
  /**
   * The version that the copy may replace, so that a later write is not overwritten. The copy may have that
   * version itself: two stores that changed one version differently become equal in this way.
   */
  readonly ifVersion?: number | undefined;
}

/**
 * A change of a session.
 *
 * @category Session stores
 */
export type SessionChange = SessionCreate | SessionUpdate | SessionPut;

/**
 * The result of a change.
 *
 * @category Session stores
 */
export type SessionSaved =
  | {
    /** The change was applied. */
    readonly state: "saved";
    /** The session as it is now. */
    readonly record: SessionRecord;
  }
  | {
    /**
     * The session has another version: `update` with `ifVersion`, or `put` of an older one. Nothing changed.
     */
    readonly state: "conflict";
    /** The stored session. */
    readonly record: SessionRecord;
  }
  | {
    /** The session ended, or the key is taken. Nothing changed. */
    readonly state: "ended";
    /** The reason. */
    readonly why: SessionEnd;
    /** The milliseconds since it was rotated or revoked, by the store's clock. */
    readonly ago?: number;
    /**
     * The key of the session that continues it, if it was rotated and the store knows; see
     * `SessionDelete.next`.
     */
    readonly next?: string;
  }
  | {
    /** There is no session to update. Nothing changed. */
    readonly state: "unknown";
  };

/**
 * Options of {@linkcode SessionStore.delete}.
 *
 * @category Session stores
 */
export interface SessionDelete extends CallOptions {
  /** The reason that the tombstone gives to late requests. */
  readonly why: Exclude<SessionEnd, "expired">;
  /**
   * The choice where no session is: `"tombstone"` writes a tombstone, so that a session which is just being
   * created is refused.
   * @default {"ignore"}
   */
  readonly absent?: "ignore" | "tombstone" | undefined;
  /**
   * Keeps the tombstone until the session would have ended by itself, for a store that may be set back to an
   * older state.
   * @default {false}
   */
  readonly lasting?: boolean | undefined;
  /**
   * The key of the session of the same user that continues this one; an opaque text for the store, which
   * `load` and `save` answer. It is the key of the session that a rotation made (what requests under way
   * write goes there, and a late logout ends it), or `login:` and the key of one that a login began (a late
   * logout does not end it).
   */
  readonly next?: string | undefined;
}

/**
 * A store of sessions. Every read checks both timeouts; the expiry of the engine is only garbage collection.
 *
 * @category Session stores
 */
export interface SessionStore {
  /**
   * `atomic`: each call takes effect at once, everywhere. `eventual`: parallel changes may overwrite each
   * other, and an ended session may be seen elsewhere for a while; `createSessions` requires `eventual:
   * true`.
   */
  readonly consistency: "atomic" | "eventual";
  /** Looks a session up. */
  load(key: string, options?: CallOptions): Promise<SessionFound>;
  /** Creates or changes a session in one step. */
  save(key: string, change: SessionChange, options?: CallOptions): Promise<SessionSaved>;
  /** Ends a session and answers its last record; of many callers exactly one gets it. */
  delete(key: string, options: SessionDelete): Promise<SessionRecord | undefined>;
  /** Answers whether there is a live session. */
  exists(key: string, options?: CallOptions): Promise<boolean>;
  /**
   * Deletes what is left of a session that is not live. Only stores whose records do not expire by themselves
   * have it (`sweepSessions`).
   */
  purge?(key: string, options?: CallOptions): Promise<void>;
  /** The index of users; a store without one can neither list nor end a user's sessions. */
  readonly index?: SessionIndex | undefined;
}

/**
 * A session store with an index of users.
 *
 * @category Session stores
 */
export interface IndexedSessionStore extends SessionStore {
  /** The index of users. */
  readonly index: SessionIndex;
}

/**
 * A session store whose calls take effect at once.
 *
 * @category Session stores
 */
export type Atomic<Store extends SessionStore> = Store & { readonly consistency: "atomic" };

/**
 * An entry of the index: where a session of a user is.
 *
 * @category Session stores
 */
export interface SessionEntry {
  /** The public name. */
  readonly handle: string;
  /** The key of its record. */
  readonly key: string;
  /** The time at which it was listed, shortly before it was created; in milliseconds since the epoch. */
  readonly listedAt: number;
  /** The latest time at which it ends, in milliseconds since the epoch. */
  readonly endsAt: number;
}

/**
 * The sessions of a user, or the epoch of all users.
 *
 * @category Session stores
 */
export interface UserSessions {
  /**
   * Sessions whose `bornAt` is earlier are revoked, whether they have an entry or not; 0 without a
   * revocation.
   */
  readonly epoch: number;
  /** The handle of the one session that the epoch does not revoke. */
  readonly spared?: string;
  /** The entries; some of their sessions may have ended. */
  readonly entries: readonly SessionEntry[];
}

/**
 * The result of {@linkcode SessionIndex.add}.
 *
 * @category Session stores
 */
export type SessionAdded =
  | {
    /** The session is listed. */
    readonly state: "added";
    /** The time that is compared with the epochs: not before the user's epoch. */
    readonly bornAt: number;
  }
  | {
    /** The session that this one continues was revoked. */
    readonly state: "stale";
  }
  | {
    /** The user has as many sessions as the limit allows. */
    readonly state: "full";
    /** Their entries, oldest first. */
    readonly entries: readonly SessionEntry[];
  };

/**
 * Options of {@linkcode SessionIndex.add}.
 *
 * @category Session stores
 */
export interface SessionAddOptions extends CallOptions {
  /**
   * The session that this one continues; if it was revoked, the new one is `stale`. Absent after a login.
   */
  readonly continues?: { readonly handle: string; readonly bornAt: number } | undefined;
  /**
   * The handle of a session that this one replaces, so that it does not count; for a session that continues
   * none.
   */
  readonly replaces?: string | undefined;
  /** The maximum number of entries. */
  readonly limit?: number | undefined;
}

/**
 * Options of {@linkcode SessionIndex.revoke}.
 *
 * @category Session stores
 */
export interface SessionRevokeOptions extends CallOptions {
  /** The handle of the session that is not revoked. */
  readonly except?: string | undefined;
  /** The time for which the epoch is kept, in milliseconds: as long as a session may live. */
  readonly remember: number;
  /** The epoch of another store, for a copy; the later one wins. Now if absent. */
  readonly epoch?: number | undefined;
}

/**
 * The user key that stands for all users. Keys of single users are hashes, so they never equal it.
 *
 * @category Session stores
 */
export const ALL_USERS = "everybody";

/**
 * The index of sessions by user. A session is listed before it is created: one that cannot be listed must not
 * exist.
 *
 * Entries are hints, the epoch decides. A revocation raises the epoch in the same step that reads the
 * entries, and then ends their sessions. A session that has lost its entry ends when it is next compared with
 * the epoch.
 *
 * @category Session stores
 */
export interface SessionIndex {
  /** Lists a session that is about to be created. */
  add(
    user: string,
    entry: Omit<SessionEntry, "listedAt">,
    options?: SessionAddOptions,
  ): Promise<SessionAdded>;
  /** Removes a session from the list. */
  remove(user: string, handle: string, options?: CallOptions): Promise<void>;
  /** Reads the entries and the epoch of a user. */
  read(user: string, options?: CallOptions): Promise<UserSessions>;
  /**
   * Revokes every session of the user but one by raising the epoch, and answers the entries, for the caller
   * to delete their sessions.
   */
  revoke(user: string, options: SessionRevokeOptions): Promise<UserSessions>;
  /** A page of the keys of all sessions, some of which may have ended. */
  keys(
    options?: CallOptions & { readonly cursor?: string | undefined; readonly limit?: number },
  ): Promise<ListPage>;
}
