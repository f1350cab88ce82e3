/**
 * The transitions of idempotency. A record is `{ s: "p", o, fp, l, a, x }` while somebody works (owner, fingerprint,
 * lease end, attempt, retention end) and `{ s: "c", o, fp, r, a, x }` when it is done (`r` the response, absent when it was
 * not kept). Anything else under the key is corrupt or of another version: every transition says so and leaves it alone.
 *
 * All of them may be repeated after a lost reply: the owner's id makes the second time say what the first one did.
 */
import type { Fields, Step, Transition } from "../store/transition.ts";

const WHOLE = /^\d{1,16}$/;
const CORRUPT: Step = { output: { s: "corrupt" } };

function sound({ s, o, fp, l, a, x }: Fields): boolean {
  return o !== undefined && fp !== undefined && WHOLE.test(a ?? "") && WHOLE.test(x ?? "") &&
    (s === "c" || (s === "p" && WHOLE.test(l ?? "")));
}

function keep(record: Fields, output: Fields): Step {
  return { output, write: { record, expiresAt: Number(record.x), retention: "protected" } };
}

/**
 * `{ o, fp?, l, t }` (owner, fingerprint, lease, retention) → `{ s }`: `new` with `a`, `busy` with `ms` left of the lease,
 * `done` with `a` and perhaps `r`, or `mismatch`. The fingerprint is compared first, the lease second; the same owner gets
 * the same claim.
 */
export const beginClaim: Transition = {
  name: "idempotency.begin",
  apply(record, { o, fp = "", l, t }, now): Step {
    if (record !== undefined) {
      if (!sound(record)) return CORRUPT;
      if (record.fp !== fp) return { output: { s: "mismatch" } };
      if (record.s === "c") {
        return { output: { s: "done", a: record.a!, ...(record.r !== undefined && { r: record.r }) } };
      }
      if (record.o !== o && now < Number(record.l)) {
        return { output: { s: "busy", ms: String(Number(record.l) - now) } };
      }
    }
    const attempt = record === undefined ? 1 : Number(record.a) + (record.o === o ? 0 : 1);
    const ends = now + Number(l);
    // The record outlives its lease, or a third caller would start beside the second.
    const x = Math.max(Number(record?.x ?? now + Number(t)), ends);
    return keep(
      { s: "p", o: o!, fp, l: String(ends), a: String(attempt), x: String(x) },
      { s: "new", a: String(attempt) },
    );
  },
};

/**
 * `{ o, fp?, r?, a, t }` → `{ s }`: `stored`, `superseded` by one that is done (with its `r`, if kept), or `overtaken` by one
 * that works. A record that vanished is stored again: the work was done.
 */
export const completeClaim: Transition = {
  name: "idempotency.complete",
  apply(record, { o, fp = "", r, a, t }, now): Step {
    if (record !== undefined) {
      if (!sound(record)) return CORRUPT;
      if (record.o !== o) {
        if (record.s === "p") return { output: { s: "overtaken" } };
        return { output: { s: "superseded", ...(record.r !== undefined && { r: record.r }) } };
      }
      if (record.s === "c") return { output: { s: "stored" } };
    }
    const done = { s: "c", o: o!, fp, a: a!, x: String(now + Number(t)) };
    return keep(r === undefined ? done : { ...done, r }, { s: "stored" });
  },
};

/** `{ o }` → `{ s }`: `free` when nobody is at it now, so that the next caller runs; `lost` when it is not ours to give. */
export const abandonClaim: Transition = {
  name: "idempotency.abandon",
  apply(record, { o }): Step {
    if (record === undefined) return { output: { s: "free" } };
    if (!sound(record)) return CORRUPT;
    if (record.s !== "p" || record.o !== o) return { output: { s: "lost" } };
    return { output: { s: "free" }, write: { record: undefined } };
  },
};

/** `{ o, l }` → `{ s }`: `held`, and the lease ends `l` from now; or `lost`. */
export const extendClaim: Transition = {
  name: "idempotency.extend",
  apply(record, { o, l }, now): Step {
    if (record !== undefined && !sound(record)) return CORRUPT;
    if (record?.s !== "p" || record.o !== o) return { output: { s: "lost" } };
    const ends = now + Number(l);
    const x = Math.max(Number(record.x), ends);
    return keep({ ...record, l: String(ends), x: String(x) }, { s: "held" });
  },
};

/** `{}` → `{}`, or `{ s }`: `busy` or `done`, with `a` and perhaps `r`. */
export const readClaim: Transition = {
  name: "idempotency.read",
  apply(record): Step {
    if (record === undefined) return { output: {} };
    if (!sound(record)) return CORRUPT;
    if (record.s === "p") return { output: { s: "busy", a: record.a! } };
    return { output: { s: "done", a: record.a!, ...(record.r !== undefined && { r: record.r }) } };
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
