/** Pure decisions of ending a session on two sides. */
import type { SessionRecord } from "../session/session_record.ts";
import type { SessionFound } from "../session/session_store.ts";
import { isEnded } from "./read_plan.ts";
import type { NotReplicatedError } from "./not_replicated_error.ts";
import { isPermanent, mayHaveHappened } from "./side.ts";
import type { Ending } from "./work.ts";

/** A side's answer to a delete, or why there is none. */
export type Deleted = PromiseSettledResult<SessionRecord | undefined>;

/** The next step of a rotation that looked at both sides. */
export type RotationPlan =
  /** Deletes: the primary decides which of several callers gets the session. */
  | { readonly type: "delete" }
  /** Another caller ended it: makes sure that both sides have a tombstone, and returns nothing. */
  | { readonly type: "ended" }
  /** The primary lost the session: it gets the copy back first, so that it can decide. */
  | { readonly type: "restore" };

/**
 * Plans a rotation. A tombstone on either side says that another caller was first, whatever a primary set
 * back says.
 */
export function planRotation(primary: SessionFound, secondary: SessionFound): RotationPlan {
  if (isEnded(primary) || isEnded(secondary)) return { type: "ended" };
  if (secondary.state !== "live") return { type: "delete" };
  const lost = primary.state === "unknown" ||
    (primary.state === "live" && primary.record.version < secondary.record.version);
  return { type: lost ? "restore" : "delete" };
}

/** The next step of a delete that asked both sides. */
export type EndPlan =
  /** Both sides have a tombstone. */
  | { readonly type: "done"; readonly last: SessionRecord | undefined }
  /**
   * The primary returned nothing: it must be told why, and the secondary's record counts if the primary
   * never knew it.
   */
  | { readonly type: "ask-primary"; readonly copy: SessionRecord | undefined }
  /**
   * One side lacks its tombstone: it stays queued. `doubtful`: whether the primary's delete had its effect
   * is unknown.
   */
  | {
    readonly type: "queue";
    readonly error: unknown;
    readonly committed: NotReplicatedError["committed"];
    readonly last: SessionRecord | undefined;
    readonly doubtful: boolean;
  }
  /** A side refuses, and trying again cannot help. */
  | { readonly type: "reject"; readonly error: unknown };

/** Plans the end of a delete by what both sides answered; `end` learns which side has its tombstone. */
export function planEnd(primary: Deleted, secondary: Deleted, end: Ending): EndPlan {
  const last = primary.status === "fulfilled" ? primary.value : undefined;
  if (primary.status === "fulfilled" && secondary.status === "fulfilled") {
    if (last !== undefined) return { type: "done", last };
    return { type: "ask-primary", copy: secondary.value };
  }
  const faults = [primary, secondary].flatMap((side) => side.status === "rejected" ? [side.reason] : []);
  const permanent = faults.find(isPermanent);
  if (permanent !== undefined) return { type: "reject", error: permanent };
  // That the primary returned nothing leaves open whether it has a tombstone.
  end.primary = last === undefined;
  end.secondary = secondary.status === "rejected";
  const committed = !end.primary ? "primary" : !end.secondary ? "secondary" : "neither";
  const doubtful = primary.status === "rejected" && mayHaveHappened(primary.reason);
  return { type: "queue", error: faults[0], committed, last, doubtful };
}
