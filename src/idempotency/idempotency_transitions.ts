/**
 * The transitions of idempotency. A record has these fields; times are milliseconds since the epoch by the
 * engine's clock, as decimal integers.
 *
 * | field           | type  | in states     | meaning                                                 |
 * | --------------- | ----- | ------------- | ------------------------------------------------------- |
 * | `state`         | text  | all           | `pending`: claimed; `done`; `abandoned`: a tombstone    |
 * | `owner`         | text  | all           | the id of the claimant                                  |
 * | `claim`         | text  | all           | the id of the latest call of `begin` that got the claim |
 * | `retentionEnds` | time  | all           | when the record ends                                    |
 * | `fingerprint`   | text  | pending, done | the fingerprint of the request under the key            |
 * | `attempt`       | count | pending, done | 1, and one more for each claimant that was replaced     |
 * | `leaseEnds`     | time  | pending       | when another caller may replace the claimant            |
 * | `response`      | text  | done          | the response; absent when it was not kept               |
 *
 * Anything else under the key is corrupt or of another version: every transition says so and leaves it alone.
 *
 * Each transition may be repeated after a lost reply: repeated at once with the same input it answers the
 * same and changes nothing. A copy that arrives later, after other calls, does no harm:
 *
 * - `begin`: after its own `abandon` it is refused by the tombstone, for a minute. After another claimant
 *   came and went it is granted to a caller that no longer listens, for one lease at most. While its own
 *   owner has the key, it renews the lease and leaves the current claim the current one.
 * - `complete`: stores what was done, unless another claimant has the key by then.
 * - `abandon`: names the very claim, so a later claim of the same owner stays.
 * - `extend`: renews the lease of the same owner once more.
 */
import type { Fields, Step, Transition } from "../store/transition.ts";
import { figure, isWhole } from "../store/whole_number.ts";

/** The most digits of a number that a double holds exactly. */
const DIGITS = 16;

/**
 * The time for which an abandoned claim is remembered, in milliseconds: longer than a request stays in any
 * queue on its way.
 */
const TOMBSTONE = 60_000;

function isSound(record: Fields): boolean {
  const { state, owner, claim, fingerprint, attempt, leaseEnds, retentionEnds } = record;
  if (owner === undefined || claim === undefined || !isWhole(retentionEnds, DIGITS)) return false;
  if (state === "abandoned") return true;
  if (fingerprint === undefined || !isWhole(attempt, DIGITS)) return false;
  return state === "done" || (state === "pending" && isWhole(leaseEnds, DIGITS));
}

function corrupt(): Step {
  return { output: { state: "corrupt" } };
}

function keep(record: Fields, output: Fields): Step {
  return { output, write: { record, expiresAt: figure(record.retentionEnds), retention: "protected" } };
}

/** The answer about a record that is done. */
function done(record: Fields): Fields {
  const output: Record<string, string> = { state: "done", attempt: record.attempt! };
  if (record.response !== undefined) output.response = record.response;
  return output;
}

/**
 * `{ owner, claim, fingerprint?, lease, retention }` → `{ state }`: `new` with `attempt`; `busy` with the
 * milliseconds that `remain` of the lease; `done` with `attempt` and perhaps `response`; `mismatch`; or
 * `abandoned`, for a copy of a call whose claim was given up. The fingerprint is compared first, the lease
 * second; the same owner gets the claim again.
 */
export const beginClaim: Transition = {
  name: "idempotency.begin",
  apply(record, { owner, claim, fingerprint = "", lease, retention }, now): Step {
    if (record !== undefined && !isSound(record)) return corrupt();
    let attempt = 1;
    let held = 0;
    let current = claim!;
    let retentionEnds = now + figure(retention);
    if (record !== undefined && record.state === "abandoned") {
      if (record.owner === owner && record.claim === claim) return { output: { state: "abandoned" } };
    } else if (record !== undefined) {
      if (record.fingerprint !== fingerprint) return { output: { state: "mismatch" } };
      if (record.state === "done") return { output: done(record) };
      const leaseEnds = figure(record.leaseEnds);
      if (record.owner !== owner && now < leaseEnds) {
        return { output: { state: "busy", remain: String(leaseEnds - now) } };
      }
      attempt = figure(record.attempt) + (record.owner === owner ? 0 : 1);
      // Never shorter: the copy may arrive after an extension, or after the clock stepped back.
      if (record.owner === owner) held = leaseEnds;
      // The ids of one owner's claims are in the order of its calls. A late copy of an earlier call must not
      // make its claim the current one: the abandon of that claim may be on its way, too, and would free what
      // the later call holds.
      if (record.owner === owner && record.claim! > current) current = record.claim!;
      retentionEnds = figure(record.retentionEnds);
    }
    const leaseEnds = Math.max(held, now + figure(lease));
    // The record outlives its lease: otherwise a third caller would start beside the second.
    if (retentionEnds < leaseEnds) retentionEnds = leaseEnds;
    return keep(
      {
        state: "pending",
        owner: owner!,
        claim: current,
        fingerprint,
        leaseEnds: String(leaseEnds),
        attempt: String(attempt),
        retentionEnds: String(retentionEnds),
      },
      { state: "new", attempt: String(attempt) },
    );
  },
};

/**
 * `{ owner, claim, fingerprint?, response?, attempt, retention }` → `{ state }`: `stored`; `superseded` by a
 * claimant that is done (with its `response`, if kept); or `overtaken` by one that works. A record that
 * vanished, or was given up, is stored again: the work was done.
 */
export const completeClaim: Transition = {
  name: "idempotency.complete",
  apply(record, { owner, claim, fingerprint = "", response, attempt, retention }, now): Step {
    if (record !== undefined && !isSound(record)) return corrupt();
    if (record !== undefined && record.state !== "abandoned") {
      if (record.owner !== owner) {
        if (record.state === "pending") return { output: { state: "overtaken" } };
        const output: Record<string, string> = { state: "superseded" };
        if (record.response !== undefined) output.response = record.response;
        return { output };
      }
      if (record.state === "done") return { output: { state: "stored" } };
    }
    const next: Record<string, string> = {
      state: "done",
      owner: owner!,
      claim: claim!,
      fingerprint,
      attempt: attempt!,
      retentionEnds: String(now + figure(retention)),
    };
    if (response !== undefined) next.response = response;
    return keep(next, { state: "stored" });
  },
};

/**
 * `{ owner, claim }` → `{ state }`: `free`, so that the next caller runs; or `lost` when the claim is not the
 * current one. A tombstone stays for a minute, so that a copy of the claim's own `begin` which is still on
 * its way is not granted.
 */
export const abandonClaim: Transition = {
  name: "idempotency.abandon",
  apply(record, { owner, claim }, now): Step {
    if (record !== undefined) {
      if (!isSound(record)) return corrupt();
      const own = record.owner === owner && record.claim === claim;
      if (record.state === "abandoned" && own) return { output: { state: "free" } };
      if (record.state === "done" || (record.state === "pending" && !own)) {
        return { output: { state: "lost" } };
      }
    }
    const retentionEnds = now + TOMBSTONE;
    return {
      output: { state: "free" },
      write: {
        record: { state: "abandoned", owner: owner!, claim: claim!, retentionEnds: String(retentionEnds) },
        expiresAt: retentionEnds,
      },
    };
  },
};

/** `{ owner, lease }` → `{ state }`: `held`, and the lease ends `lease` milliseconds from now; or `lost`. */
export const extendClaim: Transition = {
  name: "idempotency.extend",
  apply(record, { owner, lease }, now): Step {
    if (record === undefined) return { output: { state: "lost" } };
    if (!isSound(record)) return corrupt();
    if (record.state !== "pending" || record.owner !== owner) return { output: { state: "lost" } };
    const leaseEnds = now + figure(lease);
    return keep(
      {
        state: "pending",
        owner: record.owner!,
        claim: record.claim!,
        fingerprint: record.fingerprint!,
        leaseEnds: String(leaseEnds),
        attempt: record.attempt!,
        retentionEnds: String(Math.max(figure(record.retentionEnds), leaseEnds)),
      },
      { state: "held" },
    );
  },
};

/**
 * `{}` → `{}` when the key is free, or `{ state }`: `busy` or `done`, with `attempt` and perhaps `response`.
 */
export const readClaim: Transition = {
  name: "idempotency.read",
  apply(record): Step {
    if (record === undefined) return { output: {} };
    if (!isSound(record)) return corrupt();
    if (record.state === "abandoned") return { output: {} };
    if (record.state === "pending") return { output: { state: "busy", attempt: record.attempt! } };
    return { output: done(record) };
  },
};

/**
 * Every transition of idempotency.
 *
 * @category Transitions
 */
export const idempotencyTransitions: readonly Transition[] = [
  beginClaim,
  completeClaim,
  abandonClaim,
  extendClaim,
  readClaim,
];
