/**
 * Sessions over a store that cannot change a key atomically, such as Workers KV.
 *
 * It still guarantees: an id is never adopted, both timeouts hold, and a session that was ended never comes
 * back once its tombstone is seen, since tombstones have keys of their own which no late write touches.
 *
 * It does not guarantee: parallel requests on one session may overwrite each other's changes, two that rotate
 * at once may both believe they won, and a session that was ended may be seen elsewhere until the store has
 * spread it (Workers KV: a minute, as a rule). Where that is too weak, use an `AtomicStore`.
 */
import { type Clock, systemClock } from "../clock.ts";
import { toMilliseconds } from "../duration.ts";
import type { CallOptions, KeyValueStore, ListPage } from "../store/key_value_store.ts";
import type { Fields, Transition } from "../store/transition.ts";
import { checkOptionNames, type OptionNames } from "../validate.ts";
import { TransitionSessionStore } from "./_transition_store.ts";
import type { AtomicSessionStoreOptions } from "./atomic_session_store.ts";
import type {
  IndexedSessionStore,
  SessionAdded,
  SessionAddOptions,
  SessionEntry,
  SessionIndex,
  SessionRevokeOptions,
  UserSessions,
} from "./session_store.ts";

/**
 * Options of {@linkcode keyValueSessionStore}.
 *
 * @category Session stores
 */
export interface KeyValueSessionStoreOptions extends AtomicSessionStoreOptions {
  /**
   * The clock that decides: a key-value store has none of its own.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

const OPTIONS = { name: true, remember: true, clock: true } satisfies OptionNames<
  KeyValueSessionStoreOptions
>;

/**
 * A session store that is only eventually consistent.
 *
 * @category Session stores
 */
export interface EventualSessionStore extends IndexedSessionStore {
  /** Changes take a while to be seen, and may overwrite each other. */
  readonly consistency: "eventual";
}

/**
 * Sessions over any key-value store, with the weaker promise above: `createSessions` needs `eventual: true`
 * with it.
 *
 * @category Session stores
 * @example
 * ```ts
 * import { createSessions, memoryStore } from "@holdfast/edge";
 * import { keyValueSessionStore } from "@holdfast/edge/sessions";
 * const sessions = createSessions(keyValueSessionStore(memoryStore()), { eventual: true });
 * const session = sessions.open(null);
 * session.set("theme", "dark");
 * if (await sessions.commit(session) === undefined) throw new Error("unexpected");
 * ```
 */
export function keyValueSessionStore(
  store: KeyValueStore,
  options: KeyValueSessionStoreOptions = {},
): EventualSessionStore {
  checkOptionNames("make a session store", options, OPTIONS);
  const sessions = store.namespace(options.name ?? "session");
  const records = sessions.namespace("record");
  const clock = options.clock ?? systemClock;
  return new TransitionSessionStore(
    "eventual",
    (transition, key, input, call) => run(records, clock, transition, key, input, call),
    new KeyValueSessionIndex(sessions.namespace("user"), records, clock),
    toMilliseconds(options.remember ?? "1m", "remember"),
  );
}

const RECORD = "r:";
const TOMBSTONE = "g:";

/** Reads, decides, writes. A tombstone has its own key and stays as long as the session could have lived. */
async function run(
  records: KeyValueStore,
  clock: Clock,
  transition: Transition,
  key: string,
  input: Fields,
  options: CallOptions | undefined,
): Promise<Fields> {
  const [stored, tombstone] = await records.getMany([RECORD + key, TOMBSTONE + key], options);
  const now = clock.now();
  const record = fieldsOf(tombstone) ?? fieldsOf(stored);
  const { output, write } = transition.apply(record, input, now);
  if (write?.record === undefined) return output;
  const ends = write.record.why === undefined ? 0 : Number(record?.ends ?? 0) + Number(input.keep);
  const ttl = Math.max(write.expiresAt ?? 0, ends) - now;
  if (write.record.why === undefined) await records.set(RECORD + key, write.record, { ...options, ttl });
  else {
    await records.set(TOMBSTONE + key, write.record, { ...options, ttl });
    await records.delete(RECORD + key, options);
  }
  return output;
}

/** Reads a record; anything else counts as absent. */
function fieldsOf(value: unknown): Fields | undefined {
  return typeof value === "object" && value !== null && "handle" in value ? value as Fields : undefined;
}

/** Each entry and each epoch has a key of its own, so that no write ever loses another one's. */
class KeyValueSessionIndex implements SessionIndex {
  readonly #users: KeyValueStore;
  readonly #epochs: KeyValueStore;
  readonly #records: KeyValueStore;
  readonly #clock: Clock;

  constructor(users: KeyValueStore, records: KeyValueStore, clock: Clock) {
    this.#users = users;
    this.#epochs = users.namespace("epoch");
    this.#records = records;
    this.#clock = clock;
  }

  async add(
    user: string,
    entry: Omit<SessionEntry, "listedAt">,
    options: SessionAddOptions = {},
  ): Promise<SessionAdded> {
    const { continues, replaces = continues?.handle, limit, ...call } = options;
    const { epoch, spared, entries } = await this.read(user, call);
    if (continues !== undefined && continues.bornAt < epoch && continues.handle !== spared) {
      return { state: "stale" };
    }
    const others = entries.filter(({ handle }) => handle !== replaces && handle !== entry.handle);
    if (limit !== undefined && others.length >= limit) return { state: "full", entries: others };
    const now = this.#clock.now();
    const ttl = Math.max(1, entry.endsAt - now);
    await this.#users.set(`${user}:${entry.handle}`, { ...entry, listedAt: now }, { ...call, ttl });
    return { state: "added", bornAt: Math.max(continues?.bornAt ?? now, epoch) };
  }

  async remove(user: string, handle: string, options?: CallOptions): Promise<void> {
    await this.#users.delete(`${user}:${handle}`, options);
  }

  async read(user: string, options?: CallOptions): Promise<UserSessions> {
    const [epoch, entries] = await Promise.all([
      this.#epochs.get<{ epoch: number; spared?: string }>(user, options),
      this.#entries(user, options),
    ]);
    return { epoch: 0, ...epoch, entries };
  }

  async #entries(user: string, options: CallOptions | undefined): Promise<SessionEntry[]> {
    const keys: string[] = [];
    for await (const key of this.#users.list({ ...options, prefix: `${user}:` })) keys.push(key);
    const found = await this.#users.getMany<SessionEntry>(keys, options);
    return found.filter((entry) => entry !== undefined).sort((a, b) => a.listedAt - b.listedAt);
  }

  async revoke(user: string, options: SessionRevokeOptions): Promise<UserSessions> {
    const { except, remember, epoch: given, ...call } = options;
    const before = await this.#epochs.get<{ epoch: number }>(user, call);
    if (given !== undefined && before !== undefined && given <= before.epoch) {
      return await this.read(user, call);
    }
    const epoch = given ?? Math.max(this.#clock.now(), before?.epoch ?? 0) + 1;
    const known = { epoch, ...(except !== undefined && { spared: except }) };
    await this.#epochs.set(user, known, { ...call, ttl: remember });
    return { ...known, entries: await this.#entries(user, call) };
  }

  async keys(
    options?: CallOptions & { readonly cursor?: string | undefined; readonly limit?: number },
  ): Promise<ListPage> {
    const page = await this.#records.listPage({ ...options, prefix: RECORD });
    return { ...page, keys: page.keys.map((key) => key.slice(RECORD.length)) };
  }
}
