/** The work that is pending under a key. */
import type { SessionRecord } from "../session/session_record.ts";
import type { SessionDelete, SessionIndex } from "../session/session_store.ts";

/** The end of a session that has not reached both sides yet. */
export interface Ending {
  readonly why: SessionDelete["why"];
  /** The key of the session that continues it: a logout that comes late finds it in the tombstone. */
  next?: string | undefined;
  /** The time at which to stop trying: the copy has expired by then. */
  until: number;
  /** Whether this side still lacks its tombstone. */
  primary: boolean;
  secondary: boolean;
  /** The session, if the primary returned it to a later attempt. */
  taken?: SessionRecord | undefined;
}

/** A revocation that has not reached both sides yet. */
export interface Revoking {
  /** Sessions born before this are dead, if the primary has not decided it yet. */
  readonly at: number;
  readonly except?: string | undefined;
  readonly remember: number;
  /** The time at which to stop trying. */
  readonly until: number;
  /** Whether the primary still lacks it. */
  primary: boolean;
}

/** A small change to the index that can be repeated on the secondary as it was made on the primary. */
export type IndexChange = (index: SessionIndex, signal: AbortSignal) => Promise<unknown>;

/** The work under one key. */
export interface Work {
  readonly kind: "session" | "user";
  readonly id: string;
  /** The newest record that a write of this isolate returned, and when: it need not be loaded again. */
  record?: { readonly value: SessionRecord; readonly at: number } | undefined;
  /** The newest version that a write of this isolate returned. */
  latestVersion: number;
  /** The version that must still be shipped, or 0. */
  pendingVersion: number;
  /** The version of a write that was answered out of order while a shipment was under way, or 0. */
  lateVersion: number;
  /**
   * The number of writes that the primary was seen to have lost before they were shipped: the waiters of the
   * next shipment are rejected.
   */
  lostWrites: number;
  end?: Ending | undefined;
  changes: IndexChange[];
  /** Whether the two sides are compared as a whole, since `changes` may be incomplete. */
  compare: boolean;
  revoke?: Revoking | undefined;
  /** Marks in the outbox that are removed when the work is done. */
  readonly marks: Map<string, Mark>;
  /** The time at which the key was last marked. */
  markedAt?: number | undefined;
  marking?: Promise<void> | undefined;
}

/** The outbox's record of a key that is not shipped yet. */
export interface Mark {
  readonly at: number;
  readonly kind: Work["kind"];
  readonly id: string;
  readonly end?: Ending | undefined;
  readonly revoke?: Revoking | undefined;
}
