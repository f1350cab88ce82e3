/**
 * The knowledge of two stores about users. Entries are hints, so their union is right; epochs only grow, so
 * the later one is right. The primary decides epochs: the secondary gets the number, not the time at which it
 * arrives.
 */
import type {
  SessionAdded,
  SessionAddOptions,
  SessionEntry,
  SessionIndex,
  SessionRevokeOptions,
  UserSessions,
} from "../session/session_store.ts";
import type { CallOptions, ListPage } from "../store/key_value_store.ts";
import { NotReplicatedError } from "./not_replicated_error.ts";
import { isEnded } from "./read_plan.ts";
import type { Entry } from "./replication_queue.ts";
import { type Replicator, worthWaiting } from "./replicator.ts";
import { isPermanent, type Side } from "./side.ts";
import type { Revoking, Work } from "./work.ts";

/** The time in milliseconds for which an epoch is kept that is copied without its own `remember`. */
const REMEMBER_MS = 30 * 86_400_000;
/** The time in milliseconds for which a revocation is retried. */
const REVOKE_RETRY_MS = 86_400_000;
/**
 * A session that is not there so long after it was listed, in milliseconds, is not about to be created any
 * more.
 */
const CREATED_WITHIN_MS = 60_000;
/** The prefixes of cursors: the primary's keys are listed first, then those that only the secondary has. */
const FIRST = "1:";
const SECOND = "2:";

export class ReplicatedIndex implements SessionIndex {
  readonly #replicator: Replicator;

  constructor(replicator: Replicator) {
    this.#replicator = replicator;
  }

  async add(
    user: string,
    entry: Omit<SessionEntry, "listedAt">,
    options: SessionAddOptions = {},
  ): Promise<SessionAdded> {
    return await this.#replicator.bounded(this.#add(user, entry, options));
  }

  async #add(
    user: string,
    entry: Omit<SessionEntry, "listedAt">,
    options: SessionAddOptions,
  ): Promise<SessionAdded> {
    const replicator = this.#replicator;
    const { signal } = options;
    const sync = replicator.settings.strategy === "sync";
    if (sync) replicator.secondary.assertAsks();
    const place = await replicator.reserve("user", user, signal);
    const copy = (signal?: AbortSignal) =>
      replicator.secondary.call("ship", ({ index }, signal) => index.add(user, entry, { signal }), {
        signal,
      });
    const copied = sync && place !== undefined ? copy(signal) : undefined;
    copied?.catch(() => {}); // shipped again below
    let added: SessionAdded;
    try {
      added = await replicator.primary.call(
        "index",
        ({ index }, signal) => index.add(user, entry, { ...options, signal }),
        { signal, late: () => replicator.effectCameLate("user", user) },
      );
    } catch (error) {
      if (copied !== undefined && place !== undefined) place.work.compare = true;
      await replicator.failed("user", user, place, error);
      throw error;
    }
    if (added.state !== "added") {
      // A parallel write listed on the secondary what the primary refused.
      if (place !== undefined && copied !== undefined) {
        replicator.note(place, (index, signal) => index.remove(user, entry.handle, { signal }));
      }
      if (place !== undefined) replicator.queue.settle(place, copied !== undefined);
      return added;
    }
    if (place !== undefined && copied !== undefined && await succeeded(copied)) {
      replicator.queue.settle(place, false);
      return added;
    }
    if (place !== undefined) replicator.note(place, (index, signal) => index.add(user, entry, { signal }));
    await replicator.finish(place, () => copy());
    return added;
  }

  /**
   * An entry is a hint that harms nothing if it stays: removing never waits for the secondary, nor for room.
   */
  async remove(user: string, handle: string, { signal }: CallOptions = {}): Promise<void> {
    const replicator = this.#replicator;
    const place = replicator.take("user", user);
    const change = (index: SessionIndex, signal: AbortSignal) => index.remove(user, handle, { signal });
    try {
      await replicator.bounded(
        replicator.primary.call("index", ({ index }, signal) => change(index, signal), { signal }),
      );
    } catch (error) {
      await replicator.failed("user", user, place, error);
      throw error;
    }
    if (place === undefined) return;
    replicator.note(place, change);
    replicator.queue.settle(place, true);
    replicator.keepAlive(place);
  }

  async read(user: string, { signal }: CallOptions = {}): Promise<UserSessions> {
    return await this.#replicator.bounded(this.#read(user, signal));
  }

  async #read(user: string, signal: AbortSignal | undefined): Promise<UserSessions> {
    const replicator = this.#replicator;
    const { reads, whenUnavailable } = replicator.settings;
    const ask = (side: Side<{ readonly index: SessionIndex }>) =>
      side.call("index", ({ index }, signal) => index.read(user, { signal }), { signal });
    const first = ask(replicator.primary);
    const both = reads === "both";
    const [known, copy] = both
      ? await Promise.allSettled([first, ask(replicator.secondary)])
      : [await settledOf(first)] as const;
    signal?.throwIfAborted();
    if (known.status === "fulfilled") {
      if (copy === undefined) return known.value;
      if (copy.status === "fulfilled") return this.#united(user, known.value, copy.value);
      // The primary may have forgotten an epoch.
      if (whenUnavailable === "degrade") return known.value;
      throw copy.reason;
    }
    if (whenUnavailable === "throw" || isPermanent(known.reason)) throw known.reason;
    const second = copy ?? await settledOf(ask(replicator.secondary));
    if (second.status === "fulfilled") return second.value;
    throw known.reason;
  }

  #united(user: string, known: UserSessions, copy: UserSessions): UserSessions {
    const differ = known.epoch !== copy.epoch ||
      missing(known, copy).length + missing(copy, known).length > 0;
    if (differ) this.#replicator.repairLater("user", user);
    return united(known, copy);
  }

  async revoke(user: string, options: SessionRevokeOptions): Promise<UserSessions> {
    return await this.#replicator.bounded(this.#revoke(user, options));
  }

  async #revoke(user: string, options: SessionRevokeOptions): Promise<UserSessions> {
    const replicator = this.#replicator;
    const { except, remember, signal } = options;
    const now = replicator.clock.now();
    const at = options.epoch ?? now;
    const revoking: Revoking = { at, except, remember, until: now + REVOKE_RETRY_MS, primary: true };
    const place = await replicator.reserveEnd("user", user, { revoke: revoking });
    let known: UserSessions | undefined;
    try {
      known = await replicator.primary.call(
        "index",
        ({ index }, signal) => index.revoke(user, { ...options, signal }),
        { signal, late: () => replicator.effectCameLate("user", user) },
      );
      revoking.primary = false;
      const copy = await this.#copyEpoch(user, known, remember, signal);
      if (place !== undefined) replicator.queue.settle(place, false);
      // Sessions that only the secondary knows, as the primary lost them, are ended, too.
      return united(known, copy);
    } catch (error) {
      return await this.#queueRevocation(user, place, revoking, known, error);
    }
  }

  /** A side lacks the revocation: it stays queued. */
  async #queueRevocation(
    user: string,
    place: Entry<Work> | undefined,
    revoking: Revoking,
    known: UserSessions | undefined,
    error: unknown,
  ): Promise<UserSessions> {
    const replicator = this.#replicator;
    const committed = known === undefined ? "neither" : "primary";
    if (isPermanent(error) || place === undefined) {
      if (place !== undefined) replicator.queue.settle(place, false);
      if (isPermanent(error)) throw error;
      replicator.drop("user", user, error);
      throw new NotReplicatedError(committed, false, error);
    }
    place.work.revoke = revoking;
    if (known === undefined) {
      const { at: epoch, except: spared, remember } = revoking;
      // So that reads by the secondary alone heed it. If it fails, it is shipped later.
      await this.#copyEpoch(user, { epoch, spared }, remember).catch(() => {});
      replicator.queue.doubt(place, 2 * replicator.settings.attemptTimeout);
      // Only the primary's answer lists the sessions: without it the caller must repeat the call.
      throw new NotReplicatedError(committed, true, error);
    }
    replicator.queue.settle(place, true, true);
    if (!worthWaiting(error)) throw new NotReplicatedError(committed, true, error);
    await replicator.acknowledged(replicator.queue.shipped(place), committed);
    return known;
  }

  async keys(
    options: CallOptions & { readonly cursor?: string | undefined; readonly limit?: number } = {},
  ): Promise<ListPage> {
    const { primary, secondary } = this.#replicator;
    const { signal, cursor } = options;
    const page = async (side: typeof primary, cursor: string | undefined) =>
      await side.call("index", ({ index }, signal) => index.keys({ ...options, cursor, signal }), { signal });
    if (!cursor?.startsWith(SECOND)) {
      const known = await page(primary, cursor?.slice(FIRST.length));
      return { ...known, cursor: known.cursor === undefined ? SECOND : FIRST + known.cursor };
    }
    const copies = await page(secondary, cursor.slice(SECOND.length) || undefined);
    const known = await Promise.all(
      copies.keys.map((key) =>
        primary.call("index", (store, signal) => store.load(key, { signal }), { signal })
      ),
    );
    const keys = copies.keys.filter((_, i) => known[i]!.state === "unknown");
    return copies.cursor === undefined ? { keys } : { keys, cursor: SECOND + copies.cursor };
  }

  /** Brings the secondary up to date about a user. */
  async ship(work: Work): Promise<void> {
    const { id, revoke, changes, compare } = work;
    const { primary, secondary } = this.#replicator;
    work.changes = [];
    work.compare = true; // unless everything below succeeds
    if (revoke !== undefined) {
      const { except, remember, at } = revoke;
      if (revoke.primary) {
        await primary.call(
          "ship",
          ({ index }, signal) => index.revoke(id, { except, remember, epoch: at, signal }),
        );
        revoke.primary = false;
      }
      const known = await primary.call("ship", ({ index }, signal) => index.read(id, { signal }));
      await this.#copyEpoch(id, known, remember);
      if (work.revoke === revoke) work.revoke = undefined;
    }
    if (compare) await this.#compare(id);
    else {
      for (const change of changes) {
        await secondary.call("ship", ({ index }, signal) => change(index, signal));
      }
    }
    work.compare = false;
  }

  async #copyEpoch(
    user: string,
    { epoch, spared: except }: Pick<UserSessions, "epoch"> & { readonly spared?: string | undefined },
    remember: number,
    signal?: AbortSignal,
  ): Promise<UserSessions> {
    return await this.#replicator.secondary.call(
      "ship",
      ({ index }, signal) => index.revoke(user, { epoch, except, remember, signal }),
      { signal },
    );
  }

  /**
   * Whether an entry may lead to a session: one that lives on a side, or is about to be created. Both sides
   * are asked, and one that does not answer rejects: an entry must not be removed because a side was away.
   */
  async #mayLive({ key, listedAt }: SessionEntry): Promise<boolean> {
    const { primary, secondary, clock } = this.#replicator;
    const load = (side: typeof primary) => side.call("ship", (store, signal) => store.load(key, { signal }));
    const found = await Promise.all([load(primary), load(secondary)]);
    if (found.some(isEnded)) return false;
    if (found.some(({ state }) => state === "live")) return true;
    return found.every(({ state }) => state === "unknown") && clock.now() - listedAt < CREATED_WITHIN_MS;
  }

  /**
   * The copy is read first: an entry that it has and the primary lacks afterwards was removed there, or
   * lost.
   */
  async #compare(user: string): Promise<void> {
    const { primary, secondary } = this.#replicator;
    const read = (side: typeof primary) =>
      side.call("ship", ({ index }, signal) => index.read(user, { signal }));
    const copy = await read(secondary);
    const known = await read(primary);
    if (known.epoch > copy.epoch) await this.#copyEpoch(user, known, REMEMBER_MS);
    if (copy.epoch > known.epoch) {
      const { epoch, spared: except } = copy;
      const options = { epoch, except, remember: REMEMBER_MS };
      await primary.call("repair", ({ index }, signal) => index.revoke(user, { ...options, signal }));
    }
    for (const entry of missing(known, copy)) {
      await secondary.call("ship", ({ index }, signal) => index.add(user, entry, { signal }));
    }
    for (const entry of missing(copy, known)) {
      if (await this.#mayLive(entry)) {
        await primary.call("repair", ({ index }, signal) => index.add(user, entry, { signal }));
        continue;
      }
      await secondary.call("ship", ({ index }, signal) => index.remove(user, entry.handle, { signal }));
    }
  }
}

/** The entries of one that the other lacks. */
function missing(of: UserSessions, other: UserSessions): SessionEntry[] {
  const handles = new Set(other.entries.map(({ handle }) => handle));
  return of.entries.filter(({ handle }) => !handles.has(handle));
}

/** The later epoch, and the entries of both. */
function united(a: UserSessions, b: UserSessions): UserSessions {
  const later = a.epoch >= b.epoch ? a : b;
  return {
    ...later,
    entries: [...a.entries, ...missing(b, a)].sort((x, y) => x.listedAt - y.listedAt),
  };
}

async function succeeded(work: Promise<unknown>): Promise<boolean> {
  return (await settledOf(work)).status === "fulfilled";
}

async function settledOf<T>(work: Promise<T>): Promise<PromiseSettledResult<T>> {
  const [settled] = await Promise.allSettled([work]);
  return settled;
}
