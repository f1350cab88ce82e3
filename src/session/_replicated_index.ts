/**
 * What two stores know about users. Entries are hints, so their union is right; epochs only grow, so the later one is.
 * The primary decides epochs: the secondary is told the number, not the time it was told at.
 */
import type { CallOptions, ListPage } from "../store/key_value_store.ts";
import { type Replication, worthWaiting } from "./_replication.ts";
import type { Revoking, Work } from "./_replication_work.ts";
import { isPermanent } from "./_replication_side.ts";
import { NotReplicatedError } from "./replicated_error.ts";
import type {
  SessionAdded,
  SessionAddOptions,
  SessionEntry,
  SessionIndex,
  SessionRevokeOptions,
  UserSessions,
} from "./session_store.ts";

/** How long an epoch is kept that is copied without anybody knowing how long it matters. */
const REMEMBER = 30 * 86_400_000;
/** What a cursor of the secondary's keys begins with. */
const SECOND = "2:";

export class ReplicatedIndex implements SessionIndex {
  readonly #both: Replication;
  readonly #alive: (key: string) => Promise<boolean>;

  constructor(both: Replication, alive: (key: string) => Promise<boolean>) {
    this.#both = both;
    this.#alive = alive;
  }

  async add(
    user: string,
    entry: Omit<SessionEntry, "listedAt">,
    options: SessionAddOptions = {},
  ): Promise<SessionAdded> {
    const both = this.#both;
    if (both.options.strategy === "sync") both.secondary.assertAsks();
    const place = await both.reserve("user", user, options.signal);
    let added: SessionAdded;
    try {
      added = await both.primary.call(
        "index",
        ({ index }, signal) => index.add(user, entry, { ...options, signal }),
        options.signal,
      );
    } catch (error) {
      await both.failed("user", user, place, error);
      throw error;
    }
    if (added.state !== "added") {
      if (place !== undefined) both.queue.settle(place, false);
      return added;
    }
    const change = (index: SessionIndex, signal: AbortSignal) => index.add(user, entry, { signal });
    if (place !== undefined) both.note(place, change);
    await both.finish(
      place,
      () => both.secondary.call("ship", ({ index }, signal) => change(index, signal)),
    );
    return added;
  }

  /** A hint that stays on one side harms nobody: removing never waits for the secondary, nor for room. */
  async remove(user: string, handle: string, { signal }: CallOptions = {}): Promise<void> {
    const both = this.#both;
    const place = both.take("user", user);
    const change = (index: SessionIndex, signal: AbortSignal) => index.remove(user, handle, { signal });
    try {
      await both.primary.call("index", ({ index }, signal) => change(index, signal), signal);
    } catch (error) {
      await both.failed("user", user, place, error);
      throw error;
    }
    if (place === undefined) return;
    both.note(place, change);
    both.queue.settle(place, true);
    both.options.waitUntil?.(both.queue.shipped(place).catch(() => {}));
  }

  async read(user: string, { signal }: CallOptions = {}): Promise<UserSessions> {
    const { primary, secondary, options } = this.#both;
    const first = primary.call("index", ({ index }, signal) => index.read(user, { signal }), signal);
    const second = () => secondary.call("index", ({ index }, signal) => index.read(user, { signal }), signal);
    if (options.primaryForgets) {
      const [known, copy] = await Promise.allSettled([first, second()]);
      if (known.status === "fulfilled") {
        return copy.status === "fulfilled" ? united(known.value, copy.value) : known.value;
      }
      if (copy.status === "fulfilled" && options.degradedReads !== false) return copy.value;
      throw known.reason;
    }
    return await first.catch(async (error) => {
      if (options.degradedReads === false || isPermanent(error) || signal?.aborted) throw error;
      return await second().catch(() => {
        throw error;
      });
    });
  }

  async revoke(user: string, options: SessionRevokeOptions): Promise<UserSessions> {
    const both = this.#both;
    const { except, remember, signal } = options;
    const revoke: Revoking = { at: options.epoch ?? both.clock.now(), except, remember, primary: true };
    const place = await both.reserveEnd("user", user, { revoke });
    let known: UserSessions | undefined;
    try {
      known = await both.primary.call(
        "index",
        ({ index }, signal) => index.revoke(user, { ...options, signal }),
        signal,
      );
      revoke.primary = false;
      await this.#copyEpoch(user, known, remember, signal);
    } catch (error) {
      if (isPermanent(error) || place === undefined) {
        if (place !== undefined) both.queue.settle(place, false);
        if (isPermanent(error)) throw error;
        both.drop("user", user, error);
        throw new NotReplicatedError(known === undefined ? "neither" : "primary", false, error);
      }
      place.work.revoke = revoke;
      if (known === undefined) {
        // Degraded reads at least shall not accept them.
        await this.#copyEpoch(user, { epoch: revoke.at, spared: except }, remember).catch(() => {});
        both.queue.doubt(place, 2 * both.timeout);
      } else both.queue.settle(place, true, true);
      const committed = known === undefined ? "neither" : "primary";
      // Where the sessions are is known only to a caller that the primary answered.
      if (known === undefined || !worthWaiting(error)) throw new NotReplicatedError(committed, true, error);
      await both.acknowledged(both.queue.shipped(place), committed);
      return known;
    }
    if (place !== undefined) both.queue.settle(place, false);
    return both.options.primaryForgets ? united(known, await this.read(user, { signal })) : known;
  }

  async keys(
    options: CallOptions & { readonly cursor?: string | undefined; readonly limit?: number } = {},
  ): Promise<ListPage> {
    const { primary, secondary, options: { primaryForgets } } = this.#both;
    const { signal, cursor } = options;
    if (cursor?.startsWith(SECOND)) {
      const from = cursor.slice(SECOND.length) || undefined;
      const page = await secondary.call(
        "index",
        ({ index }, signal) => index.keys({ ...options, cursor: from, signal }),
        signal,
      );
      return page.cursor === undefined ? page : { ...page, cursor: SECOND + page.cursor };
    }
    const page = await primary.call(
      "index",
      ({ index }, signal) => index.keys({ ...options, cursor: cursor?.slice(2), signal }),
      signal,
    );
    if (page.cursor !== undefined) return { ...page, cursor: `1:${page.cursor}` };
    return primaryForgets ? { ...page, cursor: SECOND } : page;
  }

  /** Brings the secondary up to date about a user. */
  async ship(work: Work): Promise<void> {
    const { id, revoke, changes, compare } = work;
    const { primary, secondary } = this.#both;
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
  ): Promise<void> {
    await this.#both.secondary.call(
      "ship",
      ({ index }, signal) => index.revoke(user, { epoch, except, remember, signal }),
      signal,
    );
  }

  /** The copy is read first: what it has and the primary does not have afterwards was removed, or forgotten. */
  async #compare(user: string): Promise<void> {
    const { primary, secondary, options: { primaryForgets } } = this.#both;
    const read = (side: typeof primary) =>
      side.call("ship", ({ index }, signal) => index.read(user, { signal }));
    const copy = await read(secondary);
    const known = await read(primary);
    if (known.epoch > copy.epoch) await this.#copyEpoch(user, known, REMEMBER);
    if (primaryForgets && copy.epoch > known.epoch) {
      const { epoch, spared: except } = copy;
      await primary.call(
        "heal",
        ({ index }, signal) => index.revoke(user, { epoch, except, remember: REMEMBER, signal }),
      );
    }
    for (const entry of missing(known, copy)) {
      await secondary.call("ship", ({ index }, signal) => index.add(user, entry, { signal }));
    }
    for (const entry of missing(copy, known)) {
      const back = primaryForgets === true && await this.#alive(entry.key);
      if (back) await primary.call("heal", ({ index }, signal) => index.add(user, entry, { signal }));
      else await secondary.call("ship", ({ index }, signal) => index.remove(user, entry.handle, { signal }));
    }
  }
}

/** The entries of one that the other has not. */
function missing(of: UserSessions, other: UserSessions): SessionEntry[] {
  const handles = new Set(other.entries.map(({ handle }) => handle));
  return of.entries.filter(({ handle }) => !handles.has(handle));
}

function united(a: UserSessions, b: UserSessions): UserSessions {
  const later = a.epoch >= b.epoch ? a : b;
  return {
    ...later,
    entries: [...a.entries, ...missing(b, a)].sort((x, y) => x.listedAt - y.listedAt),
  };
}
