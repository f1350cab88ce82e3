/**
 * The transitions of idempotency. A record is `{ s: "p", o, fp, l, a, x }` while somebody works (owner, fingerprint,
 * lease end, attempt, retention end) and `{ s: "c", o, fp, r, a, x }` when it is done (`r` the response).
 */
import type { Fields, Step, Transition } from "../store/transition.ts";

function keep(record: Fields, output: Fields): Step {
  return { output, write: { record, expiresAt: Number(record.x), pinned: true } };
}

/**
 * `{ owner, fp, lease, retention }` → `{ state }`: `new` with `attempt`, `in-progress` with `remaining`, `completed` with
 * `r`, or `mismatch`. The fingerprint is compared first, the lease second; the same owner gets the same claim.
 */
export const beginClaim: Transition = {
  name: "idempotency.begin",
  apply(record, { owner, fp, lease, retention }, now): Step {
    if (record !== undefined) {
      if (record.s !== "p" && record.s !== "c") return { output: { state: "corrupt" } };
      if (record.fp !== fp) return { output: { state: "mismatch" } };
      if (record.s === "c") return { output: { state: "completed", r: record.r!, a: record.a! } };
      if (record.o !== owner && now < Number(record.l)) {
        return { output: { state: "in-progress", remaining: String(Number(record.l) - now) } };
      }
    }
    const attempt = record === undefined ? 1 : Number(record.a) + (record.o === owner ? 0 : 1);
    const l = now + Number(lease);
    // The record outlives its lease, or a third caller would start beside the second.
    const x = Math.max(Number(record?.x ?? now + Number(retention)), l);
    return keep(
      { s: "p", o: owner!, fp: fp!, l: String(l), a: String(attempt), x: String(x) },
      { state: "new", a: String(attempt) },
    );
  },
};

/**
 * `{ owner, fp, r, attempt, retention }` → `{ state }`: `stored`, or `superseded` with the winner's `r` if it has one. A
 * record that vanished is stored again: the work was done.
 */
export const completeClaim: Transition = {
  name: "idempotency.complete",
  apply(record, { owner, fp, r, attempt, retention }, now): Step {
    if (record !== undefined && record.o !== owner) {
      return { output: record.s === "c" ? { state: "superseded", r: record.r! } : { state: "superseded" } };
    }
    if (record?.s === "c") return { output: { state: "stored" } };
    const x = now + Number(retention);
    return keep({ s: "c", o: owner!, fp: fp!, r: r!, a: attempt!, x: String(x) }, { state: "stored" });
  },
};

/** `{ owner }` → `{ done }`: the claim is given back, so that the next caller runs. */
export const abandonClaim: Transition = {
  name: "idempotency.abandon",
  apply(record, { owner }): Step {
    if (record?.s !== "p" || record.o !== owner) return { output: { done: "0" } };
    return { output: { done: "1" }, write: { record: undefined } };
  },
};

/** `{ owner, lease }` → `{ done }`: the lease ends `lease` from now. */
export const extendClaim: Transition = {
  name: "idempotency.extend",
  apply(record, { owner, lease }, now): Step {
    if (record?.s !== "p" || record.o !== owner) return { output: { done: "0" } };
    const l = now + Number(lease);
    return keep({ ...record, l: String(l), x: String(Math.max(Number(record.x), l)) }, { done: "1" });
  },
};

/** `{}` → the record's `{ s, a, r? }`, or `{}`. */
export const readClaim: Transition = {
  name: "idempotency.read",
  apply(record): Step {
    if (record === undefined) return { output: {} };
    if (record.s !== "p" && record.s !== "c") return { output: { s: "corrupt" } };
    return { output: { s: record.s, a: record.a!, ...(record.s === "c" && { r: record.r! }) } };
  },
};

/** Every transition of idempotency. */
export const idempotencyTransitions: readonly Transition[] = [
  beginClaim,
  completeClaim,
  abandonClaim,
  extendClaim,
  readClaim,
];
