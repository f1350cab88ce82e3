/**
 * The transitions of the outbox. There are two kinds of records, so that each change concerns one key.
 *
 * An item's record is authoritative. Times are milliseconds since the epoch by the engine's clock:
 *
 * | field         | type       | meaning                                                                 |
 * | ------------- | ---------- | ----------------------------------------------------------------------- |
 * | `state`       | text       | `queued`, or `sent` once it was delivered                               |
 * | `fingerprint` | text       | a hash of the content: the same key with other content is refused       |
 * | `key`         | text       | the key by which the receiver can recognise a repetition                |
 * | `body`        | text       | the content                                                             |
 * | `file0`, …    | base64     | the content of attachments                                              |
 * | `ends`        | time       | when the item may be forgotten                                          |
 * | `attempt`     | count      | the number of the attempt that began last                               |
 * | `owner`       | text       | the drainer that began it                                               |
 * | `earlier`     | count      | the number of the attempt that had begun before that one                |
 * | `left`        | JSON array | the recipients that an attempt did not reach, when it reached only some |
 * | `known`       | count      | the number of that attempt, as its outcome is known                     |
 *
 * Of a delivered item only `state` and `fingerprint` stay, for as long as a repetition must be recognised.
 *
 * A bucket is an index of some hundred items: its fields are their ids, each with the text
 * `state:time:attempt:known:base:owner:until:code`. `outbox_entry.ts` describes these parts.
 */
import type { Fields, Step, Transition, Write } from "../store/transition.ts";
import { type Entry, readEntry, writeEntry } from "./outbox_entry.ts";

/**
 * A bucket has no expiry of its own: entries that expire in it are reported. It is deleted with its last
 * entry.
 */
function bucket(record: Fields): Write {
  for (const _id in record) return { record, retention: "protected" };
  return { record: undefined };
}

/**
 * `{ fingerprint, key, due, delay?, keep, body, file0… }` → `{ state }`: `queued`, `sent` when it was
 * delivered before, or `mismatch`. `due` is a time, `delay` a number of milliseconds from now: the later of
 * the two counts. The item is kept for `keep` milliseconds after that.
 */
export const putItem: Transition = {
  name: "outbox.put",
  apply(record, { due, delay = "0", keep, ...message }, now): Step {
    if (record !== undefined) {
      if (record.fingerprint !== message.fingerprint) return { output: { state: "mismatch" } };
      return { output: { state: record.state === "sent" ? "sent" : "queued" } };
    }
    const expiresAt = Math.max(now + Number(delay), Number(due)) + Number(keep);
    return {
      output: { state: "queued" },
      write: {
        record: { ...message, state: "queued", ends: String(expiresAt) },
        expiresAt,
        retention: "protected",
      },
    };
  },
};

/**
 * `{ id, due, delay?, keep, most }` → `{ state }`: `queued`; `d` or `x` when the bucket has the item in doubt
 * or as dead; `full` when the bucket has `most` entries.
 */
export const addItem: Transition = {
  name: "outbox.add",
  apply(record, { id, due, delay = "0", keep, most }, now): Step {
    const next: Record<string, string> = { ...record };
    const known = next[id!];
    if (known !== undefined) {
      const { state } = readEntry(known);
      return { output: { state: state === "d" || state === "x" ? state : "queued" } };
    }
    let count = 0;
    for (const _id in next) count++;
    if (count >= Number(most)) return { output: { state: "full" } };
    const time = Math.max(now + Number(delay), Number(due));
    const until = time + Number(keep);
    next[id!] = writeEntry({ state: "w", time, attempt: 0, known: 0, base: 0, owner: "", until, code: "" });
    return { output: { state: "queued" }, write: bucket(next) };
  },
};

/** The part of an entry that a claim answers. */
function shown({ attempt, known, base }: Entry): string {
  return `${attempt}:${known}:${base}`;
}

/**
 * `{ owner, limit, lease }` → `{ expired, next?, m:<id>: "attempt:known:base" }`: leases what is due, the
 * longest due first, and entries whose lease ended. Repeated, it answers the same to the same owner. Entries
 * that were kept long enough leave and are counted in `expired`; `next` is how many milliseconds until
 * something else is due.
 */
export const claimItems: Transition = {
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
      if (entry.state !== "l" && now >= entry.until) {
        expired++;
        continue;
      }
      next[id] = value;
      if (entry.state === "l" && entry.owner === owner) {
        held = true;
        output["m:" + id] = shown(entry);
      } else if (entry.state === "w" || entry.state === "l") {
        if (now >= entry.time) due.push({ id, entry });
        else soonest = Math.min(soonest, entry.time);
      }
    }
    due.sort((a, b) => a.entry.time !== b.entry.time ? a.entry.time - b.entry.time : a.id < b.id ? -1 : 1);
    const count = held ? 0 : Number(limit);
    if (due.length > count) soonest = now;
    let left = count;
    for (const { id, entry } of due) {
      if (left <= 0) break;
      left--;
      const time = now + Number(lease);
      const leased: Entry = { ...entry, state: "l", time, attempt: entry.attempt + 1, owner: owner! };
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
export const extendItems: Transition = {
  name: "outbox.extend",
  apply(record, { owner, lease }, now): Step {
    const next: Record<string, string> = { ...record };
    let held = 0;
    const bucketed = record ?? {};
    for (const id in bucketed) {
      const entry = readEntry(bucketed[id]!);
      if (entry.state !== "l" || entry.owner !== owner) continue;
      next[id] = writeEntry({ ...entry, time: now + Number(lease) });
      held++;
    }
    return held === 0 ? { output: { held: "0" } } : { output: { held: String(held) }, write: bucket(next) };
  },
};

/**
 * On an item: `{ owner, attempt, left }` → `{ done }`: the attempt reached some recipients, and further
 * attempts are for those in `left` alone. Its outcome is certain, so `known` keeps it from counting as
 * unknown, also when the drainer ends before it settles the lease. Nothing is noted when a later attempt has
 * begun.
 */
export const deferItem: Transition = {
  name: "outbox.defer",
  apply(record, { owner, attempt, left }): Step {
    if (record === undefined || record.attempt !== attempt || record.owner !== owner) {
      return { output: { done: "0" } };
    }
    return {
      output: { done: "1" },
      write: {
        record: { ...record, left: left!, known: attempt! },
        expiresAt: Number(record.ends),
        retention: "protected",
      },
    };
  },
};

/**
 * On an item: `{ owner, attempt, known, hold }` → `{ state }`. `go` with its content, its `key`, the
 * recipients that are `left` if only some are, and `unsure` when an earlier attempt may have delivered it;
 * from then on this attempt has begun. `doubt` instead when one may have and `hold` is `1`. `sent` or `gone`
 * when there is nothing to deliver; `stale` when a later attempt began already.
 */
export const beginItem: Transition = {
  name: "outbox.begin",
  apply(record, { owner, attempt, known, hold }): Step {
    if (record === undefined) return { output: { state: "gone" } };
    if (record.state === "sent") return { output: { state: "sent" } };
    const begun = Number(record.attempt ?? 0);
    const again = begun === Number(attempt) && record.owner === owner;
    if (begun >= Number(attempt) && !again) return { output: { state: "stale" } };
    const earlier = again ? Number(record.earlier) : begun;
    const unsure = earlier > Math.max(Number(known), Number(record.known ?? 0));
    if (unsure && hold === "1") return { output: { state: "doubt" } };
    const output: Record<string, string> = { ...record, state: "go", unsure: unsure ? "1" : "0" };
    for (const own of ["attempt", "owner", "earlier", "known", "ends"]) delete output[own];
    return {
      output,
      write: {
        record: { ...record, attempt: attempt!, owner: owner!, earlier: String(earlier) },
        expiresAt: Number(record.ends),
        retention: "protected",
      },
    };
  },
};

/**
 * On an item: `{ fingerprint, remember }` → `{}`: it was delivered, which the record keeps for `remember`
 * milliseconds.
 */
export const finishItem: Transition = {
  name: "outbox.sent",
  apply: (_record, { fingerprint, remember }, now): Step => ({
    output: {},
    write: {
      record: { state: "sent", fingerprint: fingerprint! },
      expiresAt: now + Number(remember),
      retention: "protected",
    },
  }),
};

/**
 * `{ id, owner, to, delay, code, known }` → `{ done }`: the end of a lease. `gone` when the item was
 * delivered or is no more, which holds for any later lease as well; `w` for another attempt after `delay`,
 * `d` and `x` for none. With `known` an attempt that certainly delivered nothing is noted as such; `back`
 * takes an attempt that never began out of the count.
 */
export const settleItem: Transition = {
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
    if (entry.owner !== owner) return { output: { done: "0" } };
    if (entry.state !== "l") return { output: { done: "1" } }; // repeated
    const settled: Entry = {
      ...entry,
      state: to!,
      time: now + Number(delay),
      known: known === "1" ? entry.attempt : entry.known,
      base: known === "back" ? entry.base + 1 : entry.base,
      code: code!,
    };
    next[id!] = writeEntry(settled);
    return { output: { done: "1" }, write: bucket(next) };
  },
};

/**
 * `{ id, to }` → `{ done }`: a decision about an item that is not being delivered. `w` delivers a dead or
 * doubtful one again, its attempts counted anew; `gone` forgets it.
 */
export const resolveItem: Transition = {
  name: "outbox.resolve",
  apply(record, { id, to }, now): Step {
    const value = record?.[id!];
    if (value === undefined) return { output: { done: "0" } };
    const entry = readEntry(value);
    if (entry.state === "l" || (entry.state === "w" && to === "w")) return { output: { done: "0" } };
    const next: Record<string, string> = { ...record };
    if (to === "gone") {
      delete next[id!];
      return { output: { done: "1" }, write: bucket(next) };
    }
    const { attempt } = entry;
    const again: Entry = {
      ...entry,
      state: "w",
      time: now,
      known: attempt,
      base: attempt,
      owner: "",
      code: "",
    };
    next[id!] = writeEntry(again);
    return { output: { done: "1" }, write: bucket(next) };
  },
};

/** `{}` → the record. */
export const readItem: Transition = {
  name: "outbox.read",
  apply: (record): Step => ({ output: record ?? {} }),
};

/**
 * Every transition of the outbox.
 *
 * @category Transitions
 */
export const outboxTransitions: readonly Transition[] = [
  putItem,
  addItem,
  claimItems,
  extendItems,
  beginItem,
  deferItem,
  finishItem,
  settleItem,
  resolveItem,
  readItem,
];
