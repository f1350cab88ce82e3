/** Pure decisions of a read that asked two sides about a session. */
import { sessionExpiry, type SessionRecord } from "../session/session_record.ts";
import type { SessionFound } from "../session/session_store.ts";
import type { ReplicatedSessionsOptions } from "./replicated_sessions.ts";
import { isPermanent } from "./side.ts";

/** The behaviour of a read while a side cannot be asked. */
export type WhenUnavailable = NonNullable<ReplicatedSessionsOptions["whenUnavailable"]>;

/** A side's answer, or the error instead of one. */
export type Answer = PromiseSettledResult<SessionFound>;

/** The next step of a read. */
export type ReadPlan =
  /** Answers; `repair` says that the sides differ and are compared in the background. */
  | { readonly type: "answer"; readonly found: SessionFound; readonly repair: boolean }
  /** The primary seems to have lost versions: it is asked once more, then it gets the copy back. */
  | { readonly type: "restore"; readonly primary: SessionFound; readonly copy: SessionFound }
  | { readonly type: "reject"; readonly error: unknown };

/**
 * Plans a read of both sides. `whenUnavailable` decides while one of them does not answer.
 *
 * An end that was acknowledged is on both sides, and a primary may forget it, restarted empty or set back. So
 * a live session needs the secondary's word, unless `"degrade"` trusts a primary that was `steady`: without
 * an outage lately, as far as this store saw.
 */
export function planRead(
  primary: Answer,
  secondary: Answer,
  whenUnavailable: WhenUnavailable,
  now: number,
  steady: boolean,
): ReadPlan {
  if (primary.status === "rejected") {
    const error = primary.reason;
    // A primary that is misconfigured is no outage.
    const away = whenUnavailable !== "throw" && !isPermanent(error);
    if (!away || secondary.status === "rejected") return { type: "reject", error };
    const found = degraded(secondary.value, now);
    return found === undefined ? { type: "reject", error } : { type: "answer", found, repair: false };
  }
  const first = primary.value;
  if (secondary.status === "rejected") {
    // An end needs no confirmation.
    const enough = isEnded(first) || (steady && whenUnavailable === "degrade");
    if (!enough) return { type: "reject", error: secondary.reason };
    return { type: "answer", found: first, repair: false };
  }
  return planCompared(first, secondary.value);
}

/** Compares two sides that both answered. */
function planCompared(first: SessionFound, copy: SessionFound): ReadPlan {
  // A tombstone on either side is final: the other side gets it, too.
  if (isEnded(first)) {
    // A logout and a rotation at once may leave different ones: the rotation's leads to what goes on.
    const next = first.next ?? (isEnded(copy) ? copy.next : undefined);
    const found = next === undefined ? first : { ...first, next };
    return { type: "answer", found, repair: copy.state === "live" };
  }
  if (isEnded(copy)) return { type: "answer", found: copy, repair: first.state === "live" };
  if (copy.state !== "live") return { type: "answer", found: first, repair: first.state === "live" };
  // The copy is there and the primary knows none, or an older one.
  if (first.state !== "live" || first.record.version < copy.record.version) {
    return { type: "restore", primary: first, copy };
  }
  return { type: "answer", found: first, repair: !sameRecord(first.record, copy.record) };
}

/**
 * The certain knowledge of the secondary while the primary is away. That it knows nothing, or that its copy
 * was idle for too long, proves nothing: the primary may know a newer record.
 */
export function degraded(copy: SessionFound, now: number): SessionFound | undefined {
  if (copy.state === "live" && now < sessionExpiry(copy.record)) return { ...copy, degraded: true };
  return isEnded(copy) ? copy : undefined;
}

/** True for a tombstone; a session that timed out has none. */
export function isEnded(
  found: SessionFound,
): found is { readonly state: "ended"; readonly why: "rotated" | "revoked"; readonly next?: string } {
  return found.state === "ended" && found.why !== "expired";
}

/** True if two records are the same in every field. */
export function sameRecord(a: SessionRecord, b: SessionRecord): boolean {
  if (a === b) return true;
  if (a.version !== b.version) return false; // the usual difference
  const { values: ours, ...fields } = a;
  const { values: theirs, ...others } = b;
  return sameFields(fields, others) && sameFields(ours, theirs);
}

function sameFields(a: Readonly<Record<string, unknown>>, b: Readonly<Record<string, unknown>>): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}

/** True if two records differ only in the times that two clocks wrote: both sides made the same change. */
export function sameChange(a: SessionRecord, b: SessionRecord): boolean {
  const { createdAt, touchedAt, checkedAt, bornAt, endsAt } = a;
  return sameRecord(a, { ...b, createdAt, touchedAt, checkedAt, bornAt, endsAt, ...authenticated(a, b) });
}

function authenticated(a: SessionRecord, b: SessionRecord): Pick<SessionRecord, "authenticatedAt"> {
  return a.authenticatedAt === undefined || b.authenticatedAt === undefined
    ? {}
    : { authenticatedAt: a.authenticatedAt };
}
