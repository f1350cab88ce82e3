/**
 * Sessions that survive parallel requests and stay dead when they are revoked.
 *
 * The browser holds 32 random bytes, the store their SHA-256. A request loads its session at most once and only if
 * asked, keeps what it changed as a patch, and commits it once, before the response leaves: the patch is merged into
 * the record as it is then. A session that was revoked, rotated or timed out meanwhile is never created again.
 */
import { type Clock, systemClock } from "../clock.ts";
import { decodeValue } from "../codec.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import type { Schema, SchemaOutput } from "../schema.ts";
import { randomToken, sha256 } from "../secret.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import type { Fields } from "../store/transition.ts";
import { RequestSession, type Session } from "./session.ts";
import { type SessionCookie, sessionCookie, type SessionCookieOptions } from "./session_cookie.ts";
import {
  claimSession,
  commitSession,
  createSession,
  indexSession,
  loadSession,
} from "./session_transitions.ts";

/** Something that happened to a session; without tokens and values. */
export interface SessionEvent {
  /**
   * `conflict`: changes were dropped, as the session had ended meanwhile. `unknown-id`: a well-formed token nobody
   * knows. `schema-mismatch`: the stored data no longer matches, a fresh session begins.
   */
  readonly type: "created" | "rotated" | "revoked" | "conflict" | "unknown-id" | "schema-mismatch";
  /** The session's public handle, where it has one. */
  readonly handle?: string;
}

/** Options of {@linkcode createSessions}. */
export interface SessionsOptions<S extends Schema> {
  /** What a session holds; any Standard Schema. It must accept `{}`: a new session is empty. */
  readonly schema?: S;
  /**
   * How long a session lives without a request.
   * @default {"30m"}
   */
  readonly idleTimeout?: Duration;
  /**
   * How long a session lives at most, whatever happens, rotation included.
   * @default {"12h"}
   */
  readonly absoluteTimeout?: Duration;
  /** How the cookie looks. */
  readonly cookie?: SessionCookieOptions;
  /**
   * The namespace the sessions live in.
   * @default {"session"}
   */
  readonly name?: string;
  /**
   * Whose time decides when a session is touched again.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
  /** Hears what happens; must not throw. */
  readonly onEvent?: (event: SessionEvent) => void;
}

/** Options of {@linkcode Sessions.commit}. */
export interface CommitOptions {
  /**
   * Whether the request failed (5xx): its data is dropped, while revoking and rotating hold.
   * @default {false}
   */
  readonly failed?: boolean;
}

/** A session of a user, as lists show it. */
export interface SessionSummary {
  /** The public handle. */
  readonly handle: string;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  /** Milliseconds since the epoch; as exact as touching is (`min(1m, idleTimeout / 10)`). */
  readonly lastSeenAt: number;
}

/** Sessions on one store. */
export interface Sessions<Data> {
  /** The cookie that carries the token. */
  readonly cookieName: string;
  /** The session of a request, from its Cookie header. No I/O until somebody asks for something. */
  open(cookieHeader: string | null | undefined): Session<Data>;
  /**
   * Makes what the request changed true, once, before its response leaves; answers the Set-Cookie value to append,
   * if any. Nothing read and nothing changed: no store call.
   *
   * @throws {TypeError} when the changed data does not match the schema; nothing was written
   * @throws {HoldfastError} when the store fails: the response must not claim success
   */
  commit(session: Session<Data>, options?: CommitOptions): Promise<string | undefined>;
  /** The live sessions of a user. */
  listSessions(userId: string): Promise<SessionSummary[]>;
  /** Ends all sessions of a user but one, and answers how many. */
  revokeUser(userId: string, options?: { readonly except?: string | undefined }): Promise<number>;
}

/**
 * Sessions over any atomic store.
 *
 * @example
 * ```ts
 * import { createSessions, memoryStore } from "@holdfast/edge";
 * const sessions = createSessions(memoryStore());
 * const first = sessions.open(null);
 * first.set("theme", "dark");
 * const cookie = await sessions.commit(first);
 * const second = sessions.open(cookie!.split(";")[0]);
 * if (await second.get("theme") !== "dark") throw new Error("unexpected");
 * ```
 */
export function createSessions<S extends Schema = Schema<Record<string, unknown>>>(
  store: AtomicStore,
  options: SessionsOptions<S> = {},
): Sessions<SchemaOutput<S>> {
  return new StoreSessions<SchemaOutput<S>>(store, options);
}

class StoreSessions<Data> implements Sessions<Data> {
  readonly cookieName: string;
  readonly #records: AtomicStore;
  readonly #users: AtomicStore;
  readonly #cookie: SessionCookie;
  readonly #schema: Schema<Data> | undefined;
  readonly #clock: Clock;
  readonly #emit: (event: SessionEvent) => void;
  readonly #idle: number;
  readonly #absolute: number;
  readonly #limits: Fields;

  constructor(store: AtomicStore, options: SessionsOptions<Schema>) {
    const room = store.namespace(options.name ?? "session");
    this.#records = room.namespace("record");
    this.#users = room.namespace("user");
    this.#cookie = sessionCookie(options.cookie);
    this.cookieName = this.#cookie.name;
    this.#schema = options.schema as Schema<Data> | undefined;
    this.#clock = options.clock ?? systemClock;
    this.#emit = options.onEvent ?? (() => {});
    this.#idle = toMilliseconds(options.idleTimeout ?? "30m", "idleTimeout");
    this.#absolute = toMilliseconds(options.absoluteTimeout ?? "12h", "absoluteTimeout");
    this.#limits = { idle: String(this.#idle), absolute: String(this.#absolute) };
  }

  open(cookieHeader: string | null | undefined): Session<Data> {
    const token = this.#cookie.read(cookieHeader);
    return new RequestSession<Data>(
      token,
      async () => token === undefined ? undefined : await this.#load(token),
      (values) => this.#validate(values),
    );
  }

  async #load(token: string): Promise<Fields | undefined> {
    const record = await this.#records.transact(loadSession, await sha256(token), this.#limits);
    if (record.h === undefined) {
      this.#emit({ type: "unknown-id" });
      return undefined;
    }
    if (await this.#validate(dataOf(record)) !== undefined) return record;
    this.#emit({ type: "schema-mismatch", handle: record.h });
    return undefined;
  }

  async #validate(values: Record<string, unknown>): Promise<Data | undefined> {
    if (this.#schema === undefined) return values as Data;
    const result = await this.#schema["~standard"].validate(values);
    return result.issues === undefined ? result.value : undefined;
  }

  async commit(session: Session<Data>, options: CommitOptions = {}): Promise<string | undefined> {
    if (!(session instanceof RequestSession)) {
      throw new TypeError("Cannot commit the session as it was not opened by this module");
    }
    const changes = session.freeze(options.failed ?? false);
    if (changes.revoke) return await this.#revoke(session);
    if (changes.rotate) return await this.#rotate(session, changes.login, changes.patch);
    if (Object.keys(changes.patch).length === 0 && !changes.create) return await this.#touch(session);
    const record = await session.record();
    await this.#check(record, changes.patch);
    if (record === undefined) {
      const empty = Object.keys(applied({}, changes.patch)).length === 0;
      return empty && !changes.create ? undefined : await this.#create(session.newHandle, {}, changes.patch);
    }
    await this.#merge(session.token!, record, changes.patch);
  }

  /** The patch must leave data that the schema accepts; better to find out before it is stored. */
  async #check(record: Fields | undefined, patch: Fields): Promise<void> {
    if (await this.#validate(dataOf(applied(record ?? {}, patch))) === undefined) {
      throw new TypeError("Cannot commit the session as its data does not match the schema");
    }
  }

  async #merge(token: string, record: Fields, patch: Fields): Promise<void> {
    const output = await this.#records.transact(commitSession, await sha256(token), {
      ...this.#limits,
      ...patch,
    });
    if (output.done !== "1") this.#emit({ type: "conflict", handle: record.h! });
  }

  /** Only a session somebody looked at is touched, and not more often than it matters. */
  async #touch(session: RequestSession<Data>): Promise<undefined> {
    const record = session.loaded ? await session.record() : undefined;
    if (record === undefined) return;
    if (this.#clock.now() - Number(record.t) < Math.min(60_000, this.#idle / 10)) return;
    await this.#records.transact(commitSession, await sha256(session.token!), this.#limits);
  }

  async #create(handle: string, meta: Fields, patch: Fields): Promise<string> {
    const { token, age } = await this.#store(handle, meta, applied({}, patch));
    this.#emit({ type: "created", handle });
    return this.#cookie.write(token, age);
  }

  /** Stores a new session under a new token, in its user's index first: a session nobody can list must not exist. */
  async #store(
    handle: string,
    meta: Fields,
    values: Fields,
  ): Promise<{ token: string; key: string; age: number }> {
    const token = randomToken(32);
    const key = await sha256(token);
    const born = Number(meta.c ?? this.#clock.now());
    if (meta.u !== undefined) {
      const entry = { add: handle, entry: key, expires: String(born + this.#absolute) };
      await this.#users.transact(indexSession, await sha256(meta.u), entry);
    }
    const output = await this.#records.transact(createSession, key, {
      ...this.#limits,
      ...values,
      ...meta,
      h: handle,
    });
    if (output.done !== "1") {
      throw new HoldfastError("corrupt-record", "Cannot create the session as its id is taken");
    }
    const age = meta.c === undefined ? this.#absolute : born + this.#absolute - this.#clock.now();
    return { token, key, age: Math.max(1, Math.ceil(age / 1000)) };
  }

  /** The new session is there before the old one goes; of two that rotate at once, one wins and the other is silent. */
  async #rotate(
    session: RequestSession<Data>,
    login: string | undefined,
    patch: Fields,
  ): Promise<string | undefined> {
    const old = await session.record();
    await this.#check(old, patch);
    const meta: Record<string, string> = {};
    const user = login ?? old?.u;
    if (user !== undefined) meta.u = user;
    if (login !== undefined) meta.a = "now";
    else if (old?.a !== undefined) meta.a = old.a;
    if (old === undefined) return await this.#create(session.newHandle, meta, patch);
    meta.c = old.c!;
    const handle = session.newHandle;
    const { token, key, age } = await this.#store(handle, meta, applied(valuesOf(old), patch));
    const last = await this.#records.transact(claimSession, await sha256(session.token!), this.#limits);
    if (last.h === undefined) {
      await this.#end(key, user, handle);
      this.#emit({ type: "conflict", handle: old.h! });
      return undefined;
    }
    // What parallel requests committed between our load and our claim moves along, unless we changed it ourselves.
    const late = difference(valuesOf(old), valuesOf(last), patch);
    if (Object.keys(late).length > 0) {
      await this.#records.transact(commitSession, key, { ...this.#limits, ...late });
    }
    if (old.u !== undefined) {
      await this.#users.transact(indexSession, await sha256(old.u), { remove: old.h! });
    }
    this.#emit({ type: "rotated", handle });
    return this.#cookie.write(token, age);
  }

  async #revoke(session: RequestSession<Data>): Promise<string | undefined> {
    if (session.token === undefined) return undefined;
    const key = await sha256(session.token);
    const last = await this.#records.transact(claimSession, key, this.#limits);
    if (last.u !== undefined) {
      await this.#users.transact(indexSession, await sha256(last.u), { remove: last.h! });
    }
    if (last.h !== undefined) this.#emit({ type: "revoked", handle: last.h });
    return this.#cookie.write("", 0);
  }

  async #end(key: string, user: string | undefined, handle: string): Promise<boolean> {
    const last = await this.#records.transact(claimSession, key, this.#limits);
    if (user !== undefined) await this.#users.transact(indexSession, await sha256(user), { remove: handle });
    return last.h !== undefined;
  }

  async listSessions(userId: string): Promise<SessionSummary[]> {
    const records = await Promise.all((await this.#index(userId)).map(async ({ key }) => {
      const record = await this.#records.transact(loadSession, key, this.#limits);
      return record.h === undefined ? [] : [record];
    }));
    return records.flat()
      .map((record) => ({ handle: record.h!, createdAt: Number(record.c), lastSeenAt: Number(record.t) }))
      .sort((a, b) => a.createdAt - b.createdAt);
  }

  async revokeUser(userId: string, options: { readonly except?: string | undefined } = {}): Promise<number> {
    const sessions = (await this.#index(userId)).filter(({ handle }) => handle !== options.except);
    const ended = await Promise.all(sessions.map(async ({ handle, key }) => {
      const live = await this.#end(key, userId, handle);
      if (live) this.#emit({ type: "revoked", handle });
      return live;
    }));
    return ended.filter(Boolean).length;
  }

  async #index(userId: string): Promise<{ handle: string; key: string }[]> {
    const index = await this.#users.transact(indexSession, await sha256(userId), {});
    return Object.entries(index).map(([field, value]) => ({
      handle: field.slice(2),
      key: value.slice(0, value.lastIndexOf(":")),
    }));
  }
}

/** Data and flash values of a record, as stored. */
function valuesOf(record: Fields): Fields {
  return Object.fromEntries(Object.entries(record).filter(([field]) => /^[df]:/.test(field)));
}

/** The data of a record, decoded. */
function dataOf(record: Fields): Record<string, unknown> {
  const data: Record<string, unknown> = Object.create(null);
  for (const [field, text] of Object.entries(record)) {
    if (field.startsWith("d:")) data[field.slice(2)] = decodeValue(text);
  }
  return data;
}

function applied(record: Fields, patch: Fields): Fields {
  const next: Record<string, string> = { ...record };
  for (const [field, text] of Object.entries(patch)) {
    if (field.startsWith("x:")) delete next[field.slice(2)];
    else next[field] = text;
  }
  return next;
}

/** The patch that turns `before` into `after`, leaving out what `mine` touches. */
function difference(before: Fields, after: Fields, mine: Fields): Fields {
  const patch: Record<string, string> = {};
  const free = (field: string) => !(field in mine) && !(`x:${field}` in mine);
  for (const [field, text] of Object.entries(after)) {
    if (before[field] !== text && free(field)) patch[field] = text;
  }
  for (const field of Object.keys(before)) if (!(field in after) && free(field)) patch[`x:${field}`] = "";
  return patch;
}
