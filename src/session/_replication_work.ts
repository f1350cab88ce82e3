/** What waits to be shipped under a key. */
import type { SessionRecord } from "./session_record.ts";
import type { SessionDelete, SessionIndex } from "./session_store.ts";

/** The end of a session that has not reached every side yet. */
export interface Ending {
  readonly why: SessionDelete["why"];
  /** When to stop trying: the copy is dead by itself then. */
  until: number;
  /** Whether this side must still hear of it. */
  primary: boolean;
  secondary: boolean;
  /** The session, if the primary gave it to a later try. */
  taken?: SessionRecord | undefined;
}

/** A revocation that has not reached every side yet. */
export interface Revoking {
  /** Who was born before this is dead, if the primary has not decided it yet. */
  readonly at: number;
  readonly except?: string | undefined;
  readonly remember: number;
  /** Whether the primary must still hear of it. */
  primary: boolean;
}

/** A small change to the index that can be repeated on the secondary as it was made on the primary. */
export type IndexChange = (index: SessionIndex, signal: AbortSignal) => Promise<unknown>;

/** What is to be shipped under one key. */
export interface Work {
  readonly kind: "session" | "user";
  readonly id: string;
  /** The newest record this isolate's own writes answered, and when: it need not be loaded again. */
  record?: { readonly value: SessionRecord; readonly at: number } | undefined;
  /** The version of the newest record ever learned here, and of the one that must still be shipped, or 0. */
  newest: number;
  owed: number;
  /** How often the primary was seen to have forgotten what had to be shipped: whose answer waits for the next shipment must hear it. */
  lost: number;
  end?: Ending | undefined;
  changes: IndexChange[];
  /** Whether the changes are not the whole story. */
  compare: boolean;
  revoke?: Revoking | undefined;
  /** Marks in the outbox that fall when the work is done. */
  readonly marks: Map<string, Mark>;
  stamp?: number | undefined;
  marking?: Promise<void> | undefined;
}

/** What the outbox keeps of a key that is not shipped yet. */
export interface Mark {
  readonly at: number;
  readonly kind: Work["kind"];
  readonly id: string;
  readonly end?: Ending | undefined;
  readonly revoke?: Revoking | undefined;
}
