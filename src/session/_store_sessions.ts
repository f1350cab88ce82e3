/** Sessions over a session store: what `createSessions` answers. */
import { type Clock, systemClock } from "../clock.ts";
import { toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import type { Schema } from "../schema.ts";
import { sha256 } from "./_sha256.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import type { Fields } from "../store/transition.ts";
import { applied, combined, dataOf, difference, isEmpty, type Patch, without } from "./_patch.ts";
import { withDeadline } from "./_deadline.ts";
import { interpreter, quietly } from "./_interpret.ts";
import { NO_SESSION, RequestSession, type SessionChanges, type SessionView } from "./_request_session.ts";
import { isRevoked, UserWide } from "./_user_wide.ts";
import { atomicSessionStore } from "./atomic_session_store.ts";
import type { Session } from "./session.ts";
import { type SessionCookie, sessionCookie } from "./session_cookie.ts";
import type { SessionEvent } from "./session_event.ts";
import type { SessionRecord } from "./session_record.ts";
import { type BoundSession, boundSession } from "./session_response.ts";
import type { SessionStore } from "./session_store.ts";
import type { CommitOptions, Sessions, SessionsOptions, SessionSummary } from "./sessions.ts";

/** How often a commit that depends on what was there is tried; each loser makes room for a winner. */
const MOST_TRIES = 64;

export class StoreSessions<Data> implements Sessions<Data> {
  readonly cookieName: string;
  readonly #store: SessionStore;
  readonly #users: UserWide | undefined;
  readonly #cookie: SessionCookie;
  readonly #schema: Schema<Data> | undefined;
  readonly #version: number;
  readonly #interpret: (record: SessionRecord) => Promise<SessionView>;
  readonly #migrates: boolean;
  readonly #clock: Clock;
  readonly #emit: (event: SessionEvent) => void;
  readonly #idle: number;
  readonly #absolute: number;
  readonly #touchEvery: number;

  constructor(store: AtomicStore | SessionStore, options: SessionsOptions<Schema>) {
    this.#store = sessionStore(store, options);
    this.#cookie = sessionCookie(options.cookie);
    this.cookieName = this.#cookie.name;
    this.#schema = options.schema as Schema<Data> | undefined;
    this.#version = positive("version", options.version ?? 1);
    this.#clock = options.clock ?? systemClock;
    this.#emit = quietly(options.onEvent);
    this.#interpret = interpreter(options, this.#version, this.#emit);
    this.#migrates = options.migrate !== undefined;
    this.#idle = toMilliseconds(options.idleTimeout ?? "30m", "idleTimeout");
    this.#absolute = toMilliseconds(options.absoluteTimeout ?? "12h", "absoluteTimeout");
    this.#touchEvery = options.touchEvery === undefined
      ? Math.min(60_000, this.#idle / 10)
      : toMilliseconds(options.touchEvery, "touchEvery");
    const limit = positive("maxSessionsPerUser", options.maxSessionsPerUser ?? 500);
    const { index } = this.#store;
    if (index !== undefined) {
      const evict = options.onSessionLimit !== "reject";
      this.#users = new UserWide(this.#store, index, this.#emit, {
        limit,
        evict,
        absolute: this.#absolute,
        clock: this.#clock,
      });
    }
  }

  open(cookieHeader: string | null | undefined): RequestSession<Data> {
    const { token, count } = this.#cookie.read(cookieHeader);
    if (count > 1) this.#emit({ type: "duplicate-cookie" });
    return new RequestSession<Data>(token, {
      checks: this.#schema !== undefined,
      clock: this.#clock,
      emit: this.#emit,
      load: (session) => this.#load(session),
      validate: (values) => this.#validate(values),
    });
  }

  fromRequest(request: Request): BoundSession<Data> {
    return boundSession(this, this.open(request.headers.get("cookie")), request.method);
  }

  async #load(session: RequestSession<Data>): Promise<SessionView> {
    const key = session.key;
    const found = await this.#store.load(key);
    if (found.state === "unknown") {
      this.#emit({ type: "unknown-id" });
      return NO_SESSION;
    }
    if (found.state === "ended") {
      if (found.why === "expired") this.#emit({ type: "expired" });
      return { ...NO_SESSION, ended: found.why };
    }
    const { record } = found;
    const { degraded = false } = found;
    const due = this.#users !== undefined && this.#clock.now() - record.checkedAt >= this.#touchEvery;
    if (due && await isRevoked(this.#users!.index, record)) {
      if (!degraded) await this.#revokeRecord(key, record);
      return { ...NO_SESSION, ended: "revoked" };
    }
    return { ...await this.#interpret(record), checked: due && !degraded, degraded };
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
    if (changes.rotate) return await this.#rotate(session, changes);
    if (isEmpty(changes.patch) && !changes.create) {
      if (session.loaded) await this.#touch(session, options);
      return undefined;
    }
    if (session.token !== undefined && !session.loaded && this.#schema === undefined && !this.#migrates) {
      const done = await this.#writeUnread(session, changes.patch);
      if (done !== "unknown") return undefined;
    } else {
      const view = await session.view();
      if (view.record !== undefined) return void await this.#merge(session, view, changes);
      if (view.ended === "rotated") return void this.#emit({ type: "conflict" });
    }
    const values = applied({}, changes.patch);
    if (Object.keys(values).length === 0 && !changes.create) return undefined;
    await this.#check({}, changes.patch);
    return await this.#create(session, values, {});
  }

  /** The patch must leave data that the schema accepts; better to find out before it is stored. */
  async #check(values: Fields, patch: Patch): Promise<void> {
    if (this.#schema === undefined) return;
    if (await this.#validate(dataOf(applied(values, patch))) === undefined) {
      throw new TypeError("Cannot commit the session as its data does not match the schema");
    }
  }

  /** Nothing was read and nothing needs to be: the merge finds out whether the session lives. */
  async #writeUnread(session: RequestSession<Data>, patch: Patch): Promise<"done" | "unknown"> {
    const key = session.key;
    const saved = await this.#store.save(key, { type: "update", ...patch });
    if (saved.state === "saved") {
      const { record } = saved;
      if (
        this.#users !== undefined && this.#clock.now() - record.checkedAt >= this.#touchEvery
      ) {
        if (await isRevoked(this.#users.index, record)) await this.#revokeRecord(key, record);
        else await this.#store.save(key, { type: "update", checked: true });
      }
      return "done";
    }
    if (saved.state === "ended" && saved.why === "rotated") {
      this.#emit({ type: "conflict" }); // the browser is about to get the new token: no other may overwrite it
      return "done";
    }
    if (saved.state === "unknown") this.#emit({ type: "unknown-id" });
    else if (saved.state === "ended" && saved.why === "expired") this.#emit({ type: "expired" });
    return "unknown";
  }

  async #merge(session: RequestSession<Data>, first: SessionView, changes: SessionChanges): Promise<void> {
    const key = session.key;
    let view = first;
    let patch = changes.patch;
    for (let attempt = 1; attempt <= MOST_TRIES; attempt++) {
      await this.#check(view.values, patch);
      const record = view.record!;
      const saved = await this.#store.save(key, {
        type: "update",
        ...(view.migrated ? combined(difference(record.values, view.values), patch) : patch),
        ...(view.migrated && { schemaVersion: this.#version }),
        ifVersion: changes.depends || view.migrated ? record.version : undefined,
        checked: first.checked ?? false,
      });
      if (saved.state === "saved") return;
      view = saved.state === "conflict" ? await this.#interpret(saved.record) : NO_SESSION;
      if (view.record === undefined) return this.#emit({ type: "conflict", handle: first.record!.handle });
      patch = await session.replay(view.values);
      await systemClock.sleep(Math.random() * Math.min(2 ** attempt, 50));
    }
    throw new HoldfastError(
      "contention",
      `Cannot commit the session as others changed it first ${MOST_TRIES} times`,
      { retryable: true },
    );
  }

  /** Only a session somebody looked at is touched, and not more often than it matters. */
  async #touch(session: RequestSession<Data>, { waitUntil }: CommitOptions): Promise<void> {
    const { record, checked, degraded } = await session.view();
    if (record === undefined || degraded) return;
    if (!checked && this.#clock.now() - record.touchedAt < this.#touchEvery) return;
    const key = session.key;
    const work = this.#store.save(key, { type: "update", checked: checked ?? false }).then(
      () => {},
      () => this.#emit({ type: "touch-failed", handle: record.handle }),
    );
    if (waitUntil === undefined || waitUntil(work) === false) await work;
  }

  /** Stores a new session, listed first: one that nobody can list must not exist. */
  async #put(
    session: RequestSession<Data>,
    values: Fields,
    owner: { readonly userId?: string | undefined; readonly login?: boolean; readonly old?: SessionRecord },
  ): Promise<{ key: string; maxAge: number } | "revoked"> {
    const { userId, login = false, old } = owner;
    const handle = session.newHandle;
    const key = sha256(session.newToken);
    const now = this.#clock.now();
    // Whoever proves once more who they are begins a new life; whatever else continues the old one.
    const before = login ? undefined : old;
    const endsAt = before?.endsAt ?? now + this.#absolute;
    let bornAt = before?.bornAt;
    if (userId !== undefined && this.#users !== undefined) {
      const entry = { handle, key, endsAt };
      const place = login
        ? { replaces: old?.userId === userId ? old?.handle : undefined }
        : { continues: before && { handle: before.handle, bornAt: before.bornAt } };
      const added = await this.#users.list(userId, entry, place);
      if (added === "stale") return "revoked";
      bornAt = added;
    }
    const saved = await this.#store.save(key, {
      type: "create",
      handle,
      idleTimeout: this.#idle,
      absoluteTimeout: this.#absolute,
      schemaVersion: this.#version,
      values,
      userId,
      authenticatedAt: login ? "now" : old?.authenticatedAt,
      bornAt,
      continues: before && { createdAt: before.createdAt, endsAt: before.endsAt },
    });
    if (saved.state !== "saved") return "revoked";
    return { key, maxAge: Math.max(1, Math.ceil((endsAt - now) / 1000)) };
  }

  async #create(
    session: RequestSession<Data>,
    values: Fields,
    owner: { readonly userId?: string; readonly login?: boolean },
  ): Promise<string> {
    const stored = await this.#put(session, values, owner);
    if (stored === "revoked") throw this.#beaten(owner.userId);
    this.#emit({ type: "created", handle: session.newHandle, ...user(owner.userId) });
    if (owner.login) this.#emit({ type: "logged-in", handle: session.newHandle, ...user(owner.userId) });
    return this.#cookie.write(session.newToken, stored.maxAge);
  }

  /** The user was revoked while this login was under way: what it was based on may no longer hold. */
  #beaten(userId: string | undefined): HoldfastError {
    this.#emit({ type: "refused", ...user(userId) });
    return new HoldfastError(
      "session-unavailable",
      "Cannot log in as the user's sessions were revoked meanwhile",
      { retryable: true },
    );
  }

  /**
   * The new session is there before the old one goes. Of two that rotate at once one wins and the other is silent; a
   * login never depends on the session it came with.
   */
  async #rotate(session: RequestSession<Data>, changes: SessionChanges): Promise<string | undefined> {
    const { record: old, values, ended, migrated } = await session.view();
    const { login, patch } = changes;
    const next = applied(values, patch);
    if (old === undefined) {
      if (login === undefined) {
        if (ended === "rotated") return void this.#emit({ type: "conflict" });
        if (Object.keys(next).length === 0 && !changes.create) return undefined;
      }
      await this.#check(values, patch);
      return await this.#create(session, next, login === undefined ? {} : { userId: login, login: true });
    }
    await this.#check(values, patch);
    const userId = login ?? old.userId;
    const stored = await this.#put(session, next, { userId, login: login !== undefined, old });
    if (stored === "revoked") {
      if (login !== undefined) throw this.#beaten(login);
      await this.#revokeRecord(session.key, old);
      return this.#cookie.write("", 0);
    }
    const handle = session.newHandle;
    // Nobody will ever hold the new token; where the store is down, it times out.
    const drop = () => this.#store.delete(stored.key, { why: "revoked" }).catch(() => undefined);
    let last: SessionRecord | undefined;
    try {
      last = await this.#store.delete(session.key, { why: "rotated" });
    } catch (error) {
      await drop();
      throw error;
    }
    if (last === undefined && login === undefined) {
      await drop();
      if (userId !== undefined) await this.#users?.remove(userId, handle);
      return void this.#emit({ type: "conflict", handle: old.handle });
    }
    // What parallel requests committed between our load and our claim moves along, unless we changed it ourselves.
    const late = last === undefined || migrated
      ? undefined
      : without(difference(old.values, last.values), patch);
    if (late !== undefined && !isEmpty(late)) {
      await this.#moveAlong(session, stored.key, last!, late, changes);
    }
    if (old.userId !== undefined) await this.#users?.remove(old.userId, old.handle);
    this.#emit({ type: "rotated", handle, ...user(userId) });
    if (login !== undefined) this.#emit({ type: "logged-in", handle, ...user(userId) });
    return this.#cookie.write(session.newToken, stored.maxAge);
  }

  async #moveAlong(
    session: RequestSession<Data>,
    key: string,
    last: SessionRecord,
    late: Patch,
    changes: SessionChanges,
  ): Promise<void> {
    const again = changes.depends ? await session.replay(last.values) : undefined;
    await this.#store.save(key, { type: "update", ...(again ? combined(late, again) : late) });
  }

  async #revoke(session: RequestSession<Data>): Promise<string | undefined> {
    if (session.token === undefined) return undefined;
    // The index keeps its hint until somebody follows it: a logout is one call.
    const last = await this.#store.delete(session.key, { why: "revoked" });
    if (last !== undefined) this.#emit({ type: "revoked", handle: last.handle, ...user(last.userId) });
    return this.#cookie.write("", 0);
  }

  async #revokeRecord(key: string, record: SessionRecord): Promise<void> {
    await this.#store.delete(key, { why: "revoked" });
    this.#emit({ type: "revoked", handle: record.handle, ...user(record.userId) });
  }

  async listSessions(userId: string): Promise<SessionSummary[]> {
    const live = await this.#indexed().live(userId);
    return live.map(({ record }) => ({
      handle: record.handle,
      createdAt: record.createdAt,
      lastSeenAt: record.touchedAt,
      ...(record.authenticatedAt !== undefined && { authenticatedAt: record.authenticatedAt }),
    })).sort((a, b) => a.createdAt - b.createdAt);
  }

  async revokeSession(userId: string, handle: string): Promise<boolean> {
    return await this.#indexed().end(userId, handle);
  }

  async revokeUser(userId: string, options: { readonly except?: string | undefined } = {}): Promise<number> {
    return await this.#indexed().revoke(userId, options.except);
  }

  async revokeAll(): Promise<number> {
    return await this.#indexed().revokeAll();
  }

  #indexed(): UserWide {
    if (this.#users !== undefined) return this.#users;
    throw new TypeError("Cannot speak of users as the session store has no index");
  }
}

/** What `createSessions` was given, as a session store. */
function sessionStore(store: AtomicStore | SessionStore, options: SessionsOptions<Schema>): SessionStore {
  if (typeof (store as AtomicStore | undefined)?.transact === "function") {
    return atomicSessionStore(store as AtomicStore, options.name === undefined ? {} : { name: options.name });
  }
  const sessions = store as SessionStore | undefined;
  if (typeof sessions?.load !== "function" || typeof sessions.save !== "function") {
    throw new TypeError("Cannot make sessions as they need an AtomicStore or a SessionStore");
  }
  if (sessions.consistency !== "atomic" && options.eventual !== true) {
    throw new TypeError("Cannot make sessions as an eventually consistent store needs 'eventual: true'");
  }
  return withDeadline(sessions, toMilliseconds(options.timeout ?? "5s", "timeout"));
}

function positive(name: string, value: number): number {
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new RangeError(
    `Cannot make sessions as '${name}' must be a positive integer: current value is ${value}`,
  );
}

function user(userId: string | undefined): { readonly userId?: string } {
  return userId === undefined ? {} : { userId };
}
