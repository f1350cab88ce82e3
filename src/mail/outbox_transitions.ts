/**
 * The transitions of the outbox. Two kinds of records, so that each change is one key's:
 *
 * A message's record is authoritative: `{ s: "q", fp, key, p, f0…, x }` while it waits (fingerprint,
 * idempotency key, the packed message, and `x`, the time at which it may be forgotten), with `n`, `w`, `e`
 * once an attempt began (its number, its owner, the number of the attempt before), with `left` and `known`
 * once an attempt reached some recipients only (those that are left, as a JSON array, and the attempt's
 * number), and `{ s: "s", fp }` when it was sent, for as long as a repetition must be recognised.
 *
 * A bucket is an index of some hundred messages: `{ <id>: "state:time:attempt:known:base:owner:until:code"
 * }`. State `w` waits until `time`, `l` is leased until then, `d` is in doubt and `x` is dead since then.
 * `attempt` counts leases, `known` is the last attempt after which it was certain that nothing was sent,
 * `base` the attempt at which the count began anew, `until` when the entry may be forgotten.
 */
import type { Fields, Step, Transition, Write } from "../store/transition.ts";
import { type Entry, readEntry, writeEntry } from "./_outbox_entry.ts";

/**
 * A bucket has no expiry of its own: entries that expire in it are reported. It is deleted with its last
 * entry.
 */
function bucket(record: Fields): Write {
  for (const _id in record) return { record, retention: "protected" };
  return { record: undefined };
}

/**
 * `{ fp, key, due, keep, p, f0… }` → `{ state }`: `queued`, `sent` when it was already, or `mismatch`. It is
 * kept `keep` beyond the time it is due.
 */
export const putMail: Transition = {
  name: "outbox.put",
  apply(record, { due, keep, ...message }, now): Step {
    if (record !== undefined) {
      if (record.fp !== message.fp) return { output: { state: "mismatch" } };
      return { output: { state: record.s === "s" ? "sent" : "queued" } };
    }
    const expiresAt = Math.max(now, Number(due)) + Number(keep);
    return {
      output: { state: "queued" },
      write: { record: { ...message, s: "q", x: String(expiresAt) }, expiresAt, retention: "protected" },
    };
  },
};

/**
 * `{ id, due, keep, most }` → `{ state }`: `queued` (`w` or `l`), `d` or `x` when it is known already as
 * that, `full` when the bucket has `most` entries.
 */
export const addMail: Transition = {
  name: "outbox.add",
  apply(record, { id, due, keep, most }, now): Step {
    const next: Record<string, string> = { ...record };
    const known = next[id!];
    if (known !== undefined) {
      const { s } = readEntry(known);
      return { output: { state: s === "d" || s === "x" ? s : "queued" } };
    }
    let count = 0;
    for (const _id in next) count++;
    if (count >= Number(most)) return { output: { state: "full" } };
    const t = Math.max(now, Number(due));
    next[id!] = writeEntry({ s: "w", t, a: 0, k: 0, b: 0, o: "", x: t + Number(keep), c: "" });
    return { output: { state: "queued" }, write: bucket(next) };
  },
};

/** What a claim answers of an entry. */
function shown({ a, k, b }: Entry): string {
  return `${a}:${k}:${b}`;
}

/**
 * `{ owner, limit, lease }` → `{ expired, next?, m:<id>: "attempt:known:base" }`: leases what is due, the
 * longest due first, and entries whose lease ended. Repeated, it answers the same to the same owner. Entries
 * that were kept long enough leave and are counted in `expired`; `next` is how many milliseconds until
 * something else is due.
 */
export const claimMail: Transition = {
  name: "outbox.claim",
  apply(record, { owner, limit, lease }, now): Step {
    const output: Record<string, string> = {};
    const next: Record<string, string> = {};
    const due: { readonly id: string; readonly entry: Entry }[] = [];
    let held = false;
    let soonest = Infinity;
    let expired = 0;
    const bucketed = record ?? {};
    for (const id in bucketed) {
      const value = bucketed[id]!;
      const entry = readEntry(value);
      if (entry.s !== "l" && now >= entry.x) {
        expired++;
        continue;
      }
      next[id] = value;
      if (entry.s === "l" && entry.o === owner) {
        held = true;
        output["m:" + id] = shown(entry);
      } else if (entry.s === "w" || entry.s === "l") {
        if (now >= entry.t) due.push({ id, entry });
        else soonest = Math.min(soonest, entry.t);
      }
    }
    due.sort((a, b) => a.entry.t !== b.entry.t ? a.entry.t - b.entry.t : a.id < b.id ? -1 : 1);
    const count = held ? 0 : Number(limit);
    if (due.length > count) soonest = now;
    let left = count;
    for (const { id, entry } of due) {
      if (left <= 0) break;
      left--;
      const leased: Entry = { ...entry, s: "l", t: now + Number(lease), a: entry.a + 1, o: owner! };
      next[id] = writeEntry(leased);
      output["m:" + id] = shown(leased);
    }
    output.expired = String(expired);
    if (soonest < Infinity) output.next = String(soonest - now);
    if (expired === 0 && (count === 0 || due.length === 0)) return { output };
    return { output, write: bucket(next) };
  },
};

/** `{ owner, lease }` → `{ held }`: the leases of that owner end `lease` from now; how many there are. */
export const extendMail: Transition = {
  name: "outbox.extend",
  apply(record, { owner, lease }, now): Step {
    const next: Record<string, string> = { ...record };
    let held = 0;
    const bucketed = record ?? {};
    for (const id in bucketed) {
      const entry = readEntry(bucketed[id]!);
      if (entry.s !== "l" || entry.o !== owner) continue;
      next[id] = writeEntry({ ...entry, t: now + Number(lease) });
      held++;
    }
    return held === 0 ? { output: { held: "0" } } : { output: { held: String(held) }, write: bucket(next) };
  },
};

/**
 * On a message: `{ owner, a, left }` → `{ done }`: attempt `a` reached some recipients, and further attempts
 * are for those in `left` alone. What it left unsent is certain, so `known` keeps `a` from counting as
 * unknown, also when the drainer ends before it settles the lease. Nothing is noted when a later attempt has
 * begun.
 */
export const deferMail: Transition = {
  name: "outbox.defer",
  apply(record, { owner, a, left }): Step {
    if (record === undefined || record.n !== a || record.w !== owner) return { output: { done: "0" } };
    return {
      output: { done: "1" },
      write: {
        record: { ...record, left: left!, known: a! },
        expiresAt: Number(record.x),
        retention: "protected",
      },
    };
  },
};

/**
 * On a message: `{ owner, a, k, hold }` → `{ state }`. `go` with the packed message, its `key`, the
 * recipients that are `left` if only some are, and `unsure` when an earlier attempt may have sent it; from
 * then on attempt `a` has begun. `doubt` instead when one may have and `hold` is `1`. `sent` or `gone` when
 * there is nothing to send; `stale` when a later attempt began already.
 */
export const beginMail: Transition = {
  name: "outbox.begin",
  apply(record, { owner, a, k, hold }): Step {
    if (record === undefined) return { output: { state: "gone" } };
    if (record.s === "s") return { output: { state: "sent" } };
    const begun = Number(record.n ?? 0);
    const again = begun === Number(a) && record.w === owner;
    if (begun >= Number(a) && !again) return { output: { state: "stale" } };
    const earlier = again ? Number(record.e) : begun;
    const unsure = earlier > Math.max(Number(k), Number(record.known ?? 0));
    if (unsure && hold === "1") return { output: { state: "doubt" } };
    const output: Record<string, string> = { ...record, state: "go", unsure: unsure ? "1" : "0" };
    for (const own of ["s", "n", "w", "e", "known", "x"]) delete output[own];
    return {
      output,
      write: {
        record: { ...record, n: a!, w: owner!, e: String(earlier) },
        expiresAt: Number(record.x),
        retention: "protected",
      },
    };
  },
};

/**
 * On a message: `{ fp, remember }` → `{}`: it was sent, which the record keeps for `remember` milliseconds.
 */
export const sentMail: Transition = {
  name: "outbox.sent",
  apply: (_record, { fp, remember }, now): Step => ({
    output: {},
    write: { record: { s: "s", fp: fp! }, expiresAt: now + Number(remember), retention: "protected" },
  }),
};

/**
 * `{ id, owner, to, delay, code, known }` → `{ done }`: the end of a lease. `gone` when the message was sent
 * or is no more, which holds for any later lease as well; `w` for another attempt after `delay`, `d` and `x`
 * for none. With `known` an attempt that certainly sent nothing is noted as such; `back` takes an attempt
 * that never began out of the count.
 */
export const settleMail: Transition = {
  name: "outbox.settle",
  apply(record, { id, owner, to, delay, code, known }, now): Step {
    const value = record?.[id!];
    if (value === undefined) return { output: { done: to === "gone" ? "1" : "0" } };
    const entry = readEntry(value);
    const next: Record<string, string> = { ...record };
    if (to === "gone") {
      delete next[id!];
      return { output: { done: "1" }, write: bucket(next) };
    }
    if (entry.o !== owner) return { output: { done: "0" } };
    if (entry.s !== "l") return { output: { done: "1" } }; // repeated
    const settled: Entry = {
      ...entry,
      s: to!,
      t: now + Number(delay),
      k: known === "1" ? entry.a : entry.k,
      b: known === "back" ? entry.b + 1 : entry.b,
      c: code!,
    };
    next[id!] = writeEntry(settled);
    return { output: { done: "1" }, write: bucket(next) };
  },
};

/**
 * `{ id, to }` → `{ done }`: a decision about a message that is not being sent. `w` sends a dead or doubtful
 * one again, its attempts counted anew; `gone` forgets it.
 */
export const resolveMail: Transition = {
  name: "outbox.resolve",
  apply(record, { id, to }, now): Step {
    const value = record?.[id!];
    if (value === undefined) return { output: { done: "0" } };
    const entry = readEntry(value);
    if (entry.s === "l" || (entry.s === "w" && to === "w")) return { output: { done: "0" } };
    const next: Record<string, string> = { ...record };
    if (to === "gone") {
      delete next[id!];
      return { output: { done: "1" }, write: bucket(next) };
    }
    const again: Entry = { ...entry, s: "w", t: now, k: entry.a, b: entry.a, o: "", c: "" };
    next[id!] = writeEntry(again);
    return { output: { done: "1" }, write: bucket(next) };
  },
};

/** `{}` → the record. */
export const readMail: Transition = {
  name: "outbox.read",
  apply: (record): Step => ({ output: record ?? {} }),
};

/**
 * Every transition of the outbox.
 *
 * @category Transitions
 */
export const outboxTransitions: readonly Transition[] = [
  putMail,
  addMail,
  claimMail,
  extendMail,
  beginMail,
  deferMail,
  sentMail,
  settleMail,
  resolveMail,
  readMail,
];
