/** Sessions over any engine that changes a key atomically: every call is one transition. */
import { type Duration, toMilliseconds } from "../duration.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import type { CallOptions, ListPage } from "../store/key_value_store.ts";
import type { Fields, Transition } from "../store/transition.ts";
import { sessionFields, type SessionRecord, sessionRecord } from "./session_record.ts";
import type {
  IndexedSessionStore,
  SessionAdded,
  SessionAddOptions,
  SessionChange,
  SessionDelete,
  SessionEnd,
  SessionEntry,
  SessionFound,
  SessionIndex,
  SessionRevokeOptions,
  SessionSaved,
  UserSessions,
} from "./session_store.ts";
import {
  addToUser,
  commitSession,
  createSession,
  endSession,
  loadSession,
  putSession,
  readUser,
  removeFromUser,
  replaceSession,
  revokeUser,
} from "./session_transitions.ts";

/** Options of {@linkcode atomicSessionStore}. */
export interface AtomicSessionStoreOptions {
  /**
   * The namespace the sessions live in.
   * @default {"session"}
   */
  readonly name?: string;
  /**
   * How long it is remembered why a session is gone: long enough for the requests that were under way.
   * @default {"1m"}
   */
  readonly remember?: Duration;
}

/**
 * Sessions over any atomic store. `createSessions(store)` makes one by itself; make your own to copy, to replicate or to
 * name things differently.
 *
 * @example
 * ```ts
 * import { atomicSessionStore, createSessions, memoryStore } from "@holdfast/edge";
 * const sessions = createSessions(atomicSessionStore(memoryStore(), { name: "admin" }));
 * if (await sessions.open(null).isNew() !== true) throw new Error("unexpected");
 * ```
 */
export function atomicSessionStore(
  store: AtomicStore,
  options: AtomicSessionStoreOptions = {},
): IndexedSessionStore {
  return new AtomicSessionStore(store, options);
}

class AtomicSessionStore implements IndexedSessionStore {
  readonly consistency = "atomic";
  readonly index: SessionIndex;
  readonly #records: AtomicStore;
  readonly #keep: string;

  constructor(store: AtomicStore, options: AtomicSessionStoreOptions) {
    const room = store.namespace(options.name ?? "session");
    this.#records = room.namespace("record");
    this.#keep = String(toMilliseconds(options.remember ?? "1m", "remember"));
    this.index = new AtomicSessionIndex(room.namespace("user"), this.#records);
  }

  async load(key: string, options?: CallOptions): Promise<SessionFound> {
    const output = await this.#records.transact(loadSession, key, {}, options);
    if (output.h !== undefined) return { state: "live", record: sessionRecord(output) };
    return output.g === undefined ? { state: "unknown" } : { state: "ended", why: output.g as SessionEnd };
  }

  async save(key: string, change: SessionChange, options?: CallOptions): Promise<SessionSaved> {
    const [transition, input] = step(change);
    const output = await this.#records.transact(transition, key, { ...input, keep: this.#keep }, options);
    if (output.done === "1") {
      return { state: "saved", record: change.type === "put" ? change.record : sessionRecord(output) };
    }
    if (output.done === "2") return { state: "conflict", record: sessionRecord(output) };
    return output.g === undefined ? { state: "unknown" } : { state: "ended", why: output.g as SessionEnd };
  }

  async delete(key: string, { why, absent, ...options }: SessionDelete): Promise<SessionRecord | undefined> {
    const input = { why, keep: this.#keep, ...(absent === "bury" && { bury: "1" }) };
    const output = await this.#records.transact(endSession, key, input, options);
    return output.h === undefined ? undefined : sessionRecord(output);
  }

  async exists(key: string, options?: CallOptions): Promise<boolean> {
    return (await this.load(key, options)).state === "live";
  }
}

/** A change as a transition and its input. */
function step(change: SessionChange): [Transition, Fields] {
  if (change.type === "put") return [putSession, sessionFields(change.record)];
  const input: Record<string, string> = {};
  if (change.type === "update") {
    Object.assign(input, change.set);
    for (const field of change.unset ?? []) input[`x:${field}`] = "";
    if (change.schemaVersion !== undefined) input.s = String(change.schemaVersion);
    if (change.checked) input.k = "now";
    if (change.ifVersion === undefined) return [commitSession, input];
    input.if = String(change.ifVersion);
    return [replaceSession, input];
  }
  Object.assign(input, change.values);
  input.h = change.handle;
  input.i = String(change.idleTimeout);
  input.s = String(change.schemaVersion);
  if (change.continues === undefined) input.life = String(change.absoluteTimeout);
  else {
    input.c = String(change.continues.createdAt);
    input.x = String(change.continues.endsAt);
  }
  if (change.bornAt !== undefined) input.b = String(change.bornAt);
  if (change.userId !== undefined) input.u = change.userId;
  if (change.authenticatedAt !== undefined) input.a = String(change.authenticatedAt);
  return [createSession, input];
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
    const { continues, limit, ...call } = options;
    const input: Record<string, string> = {
      handle: entry.handle,
      key: entry.key,
      ends: String(entry.endsAt),
    };
    if (limit !== undefined) input.limit = String(limit);
    if (continues !== undefined) {
      input.b = String(continues.bornAt);
      input.from = continues.handle;
    }
    const output = await this.#users.transact(addToUser, user, input, call);
    if (output.done === "1") return { state: "added", bornAt: Number(output.b) };
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
    epoch: Number(fields.e ?? 0),
    ...(fields.y !== undefined && { spared: fields.y }),
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
