/** Sessions over any engine that changes a key atomically: every call is one transition. */
import { type Duration, toMilliseconds } from "../duration.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { ask } from "../store/direct.ts";
import type { CallOptions, ListPage } from "../store/key_value_store.ts";
import type { Fields } from "../store/transition.ts";
import { checkOptionNames, type OptionNames } from "../validate.ts";
import type {
  Atomic,
  IndexedSessionStore,
  SessionAdded,
  SessionAddOptions,
  SessionEntry,
  SessionIndex,
  SessionRevokeOptions,
  UserSessions,
} from "./session_store.ts";
import { addToUser, readUser, removeFromUser, revokeUser } from "./session_transitions.ts";
import { TransitionSessionStore } from "./_transition_store.ts";

/**
 * Options of {@linkcode atomicSessionStore}.
 *
 * @category Session stores
 */
export interface AtomicSessionStoreOptions {
  /**
   * The namespace the sessions live in.
   * @default {"session"}
   */
  readonly name?: string | undefined;
  /**
   * The time for which a tombstone is kept: long enough for the requests that were in progress.
   * @default {"1m"}
   */
  readonly remember?: Duration | undefined;
}

const OPTIONS = { name: true, remember: true } satisfies OptionNames<AtomicSessionStoreOptions>;

/**
 * Sessions over any atomic store. `createSessions(store)` makes one by itself; make your own to copy, to
 * replicate or to name things differently.
 *
 * @category Session stores
 * @example
 * ```ts
 * import { createSessions, memoryStore } from "@holdfast/edge";
 * import { atomicSessionStore } from "@holdfast/edge/sessions";
 * const sessions = createSessions(atomicSessionStore(memoryStore(), { name: "admin" }));
 * if (await sessions.open(null).isNew() !== true) throw new Error("unexpected");
 * ```
 */
export function atomicSessionStore(
  store: AtomicStore,
  options: AtomicSessionStoreOptions = {},
): Atomic<IndexedSessionStore> {
  checkOptionNames("make a session store", options, OPTIONS);
  const sessions = store.namespace(options.name ?? "session");
  const records = sessions.namespace("record");
  return new TransitionSessionStore(
    "atomic",
    (transition, key, input, call) => ask(records, transition, key, input, call),
    new AtomicSessionIndex(sessions.namespace("user"), records),
    toMilliseconds(options.remember ?? "1m", "remember"),
  );
}

class AtomicSessionIndex implements SessionIndex {
  readonly #users: AtomicStore;
  readonly #records: AtomicStore;

  constructor(users: AtomicStore, records: AtomicStore) {
    this.#users = users;
    this.#records = records;
  }

  async add(
    user: string,
    entry: Omit<SessionEntry, "listedAt">,
    options: SessionAddOptions = {},
  ): Promise<SessionAdded> {
    const { continues, replaces, limit, ...call } = options;
    const input: Record<string, string> = {
      handle: entry.handle,
      key: entry.key,
      ends: String(entry.endsAt),
    };
    if (limit !== undefined) input.limit = String(limit);
    if (continues !== undefined) {
      input.born = String(continues.bornAt);
      input.from = continues.handle;
    } else if (replaces !== undefined) input.from = replaces;
    const output = await this.#users.transact(addToUser, user, input, call);
    if (output.done === "1") return { state: "added", bornAt: Number(output.born) };
    return output.done === "0" ? { state: "stale" } : { state: "full", entries: entriesOf(output) };
  }

  async remove(user: string, handle: string, options?: CallOptions): Promise<void> {
    await this.#users.transact(removeFromUser, user, { handle }, options);
  }

  async read(user: string, options?: CallOptions): Promise<UserSessions> {
    return known(await this.#users.transact(readUser, user, {}, options));
  }

  async revoke(user: string, options: SessionRevokeOptions): Promise<UserSessions> {
    const { except, remember, epoch, ...call } = options;
    const input = {
      remember: String(remember),
      ...(except !== undefined && { except }),
      ...(epoch !== undefined && { epoch: String(epoch) }),
    };
    return known(await this.#users.transact(revokeUser, user, input, call));
  }

  async keys(
    options?: CallOptions & { readonly cursor?: string | undefined; readonly limit?: number },
  ): Promise<ListPage> {
    return await this.#records.listPage(options);
  }
}

function known(fields: Fields): UserSessions {
  return {
    epoch: Number(fields.epoch ?? 0),
    ...(fields.spared !== undefined && { spared: fields.spared }),
    entries: entriesOf(fields),
  };
}

/** Oldest first. */
function entriesOf(fields: Fields): SessionEntry[] {
  return Object.entries(fields).filter(([field]) => field.startsWith("h:")).map(([field, value]) => {
    const [key, listed, ends] = value.split(":");
    return { handle: field.slice(2), key: key!, listedAt: Number(listed), endsAt: Number(ends) };
  }).sort((a, b) => a.listedAt - b.listedAt);
}
