/** Sessions over a session store: the class behind `createSessions`. */
import { systemClock } from "../clock.ts";
import { toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { dropRejection } from "../safely.ts";
import type { Schema } from "../schema.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import type { Awaitable } from "../store/engine.ts";
import type { Fields } from "../store/transition.ts";
import { checkInteger, checkOneOf, checkOptionNames, type OptionNames } from "../validate.ts";
import {
  checkCommitOptions,
  checkCookieHeader,
  checkHandle,
  checkRequest,
  checkRevokeUser,
  checkUserId,
  type Common,
  COMMON_OPTIONS,
  commonOptions,
} from "./_common_options.ts";
import { withDeadline } from "./_deadline.ts";
import { newerVersion } from "./_interpret.ts";
import { applied, combined, dataOf, difference, isEmpty, matters, type Patch, without } from "./_patch.ts";
import { notesOf, RequestSession } from "./_request_session.ts";
import {
  type End,
  isTooLate,
  NO_SESSION,
  type SessionChanges,
  type SessionNotes,
  type SessionSource,
  type SessionView,
} from "./_session_notes.ts";
import { sha256 } from "../sha256.ts";
import { isRevoked, UserWide } from "./_user_wide.ts";
import { atomicSessionStore } from "./atomic_session_store.ts";
import type { Session } from "./session.ts";
import { type SessionCookie, sessionCookie } from "./session_cookie.ts";
import type { SessionRecord } from "./session_record.ts";
import { boundSession } from "./session_response.ts";
import type { SessionFound, SessionStore } from "./session_store.ts";
import { TransitionSessionStore } from "./_transition_store.ts";
import type { BoundSession, CommitOptions, Sessions, SessionsOptions, SessionSummary } from "./sessions.ts";

/** The names of all options; a function, since bundlers keep a spread at the top of a module. */
const optionNames = () => ({
  ...COMMON_OPTIONS,
  maxSessionsPerUser: true,
  whenFull: true,
  name: true,
  timeout: true,
  eventual: true,
} satisfies OptionNames<SessionsOptions<Schema>>);

/**
 * Attempts of a commit whose patch was computed from the record. Each failed one means that another one
 * succeeded.
 */
const MOST_TRIES = 64;

/** Marks the key of a session that a login of the same user began, in the tombstone of the one before. */
const LOGIN = "login:";

/** The maximum number of rotations that a logout follows to the session that continues its own. */
const MAX_ROTATIONS = 32;

export class StoreSessions<Data> implements Sessions<Data> {
  readonly cookieName: string;
  readonly #store: SessionStore;
  readonly #find: (key: string) => Awaitable<SessionFound>;
  readonly #users: UserWide | undefined;
  readonly #cookie: SessionCookie;
  readonly #common: Common<Data>;
  readonly #source: SessionSource<Data>;
  readonly #migrates: boolean;
  /** The token that was hashed last, and its key: a request that loads and commits asks twice. */
  #lastToken: string | undefined;
  #lastKey = "";

  constructor(store: AtomicStore | SessionStore, options: SessionsOptions<Schema>) {
    checkOptionNames("make sessions", options, optionNames());
    const own = this.#store = sessionStore(store, options);
    this.#find = own instanceof TransitionSessionStore
      ? (key) => own.loadDirectly(key)
      : (key) => own.load(key);
    this.#cookie = sessionCookie(options.cookie);
    this.cookieName = this.#cookie.name;
    this.#common = commonOptions(options);
    const kind = `stored\n${this.cookieName}\n${options.name ?? "session"}`;
    this.#source = { ...this.#common, kind, load: (token) => this.#load(token) };
    this.#migrates = options.migrate !== undefined;
    const limit = checkInteger("make sessions", "maxSessionsPerUser", options.maxSessionsPerUser ?? 500);
    const { whenFull = "evict-oldest" } = options;
    checkOneOf("make sessions", "whenFull", whenFull, ["evict-oldest", "reject"]);
    const { index } = this.#store;
    if (index !== undefined) {
      const { absolute, clock, emit } = this.#common;
      const evict = whenFull === "evict-oldest";
      this.#users = new UserWide(this.#store, index, emit, { limit, evict, absolute, clock });
    }
  }

  open(cookieHeader: string | null | undefined): RequestSession<Data> {
    checkCookieHeader(cookieHeader);
    const tokens = this.#cookie.read(cookieHeader);
    if (tokens.length > 1) this.#common.emit({ type: "duplicate-cookie" });
    return new RequestSession<Data>(tokens, this.#source);
  }

  fromRequest(request: Request): BoundSession<Data> {
    checkRequest(request);
    return boundSession(this, this.open(request.headers.get("cookie")), request);
  }

  /**
   * The key of a token's record. The cookie's name is part of it, so that kinds of session never accept each
   * other's.
   */
  #key(token: string): string {
    if (token !== this.#lastToken) {
      this.#lastKey = sha256(`${this.cookieName}=${token}`);
      this.#lastToken = token;
    }
    return this.#lastKey;
  }

  #load(token: string): Awaitable<SessionView> {
    const key = this.#key(token);
    const found = this.#find(key);
    return found instanceof Promise ? found.then((found) => this.#view(key, found)) : this.#view(key, found);
  }

  /** The session as a request sees it. */
  #view(key: string, found: SessionFound): Awaitable<SessionView> {
    const { clock, emit, interpret, touchEvery } = this.#common;
    if (found.state === "unknown") {
      emit({ type: "unknown-id" });
      return NO_SESSION;
    }
    if (found.state === "ended") {
      if (found.why === "expired") emit({ type: "expired" });
      return { ...NO_SESSION, ended: found.why, endedAgo: found.ago, next: found.next };
    }
    const { record, degraded = false } = found;
    if (this.#users !== undefined && clock.now() - record.checkedAt >= touchEvery) {
      return this.#checkedView(key, record, degraded);
    }
    const view = interpret(record);
    return view instanceof Promise
      ? view.then((view) => withCheck(view, false, degraded))
      : withCheck(view, false, degraded);
  }

  /** The view of a session that is to be compared with the epochs. */
  async #checkedView(key: string, record: SessionRecord, degraded: boolean): Promise<SessionView> {
    if (await isRevoked(this.#users!.index, record)) {
      if (!degraded) await this.#revokeRecord(key, record);
      return { ...NO_SESSION, ended: "revoked" };
    }
    return withCheck(await this.#common.interpret(record), !degraded, degraded);
  }

  async commit(session: Session<Data>, options: CommitOptions = {}): Promise<string | undefined> {
    checkCommitOptions(options);
    const notes = notesOf(session);
    if (notes?.source.kind !== this.#source.kind) {
      throw new TypeError("Cannot commit the session as sessions of this kind did not open it");
    }
    const changes = notes.freeze(options.failed ?? false);
    try {
      const cookie = await this.#commit(notes, changes, options);
      if (notes.lost) await options.onConflict?.();
      return cookie;
    } catch (error) {
      if (!notes.faults.includes(error)) this.#common.fault(error);
      throw error;
    }
  }

  async #commit(
    notes: SessionNotes<Data>,
    changes: SessionChanges,
    options: CommitOptions,
  ): Promise<string | undefined> {
    if (changes.revoke) {
      const gone = await this.#revoke(notes);
      return changes.login === undefined ? gone : await this.#rotate(notes, changes);
    }
    if (changes.rotate) return await this.#rotate(notes, changes);
    if (isEmpty(changes.patch) && !changes.create) {
      if (notes.loaded) await this.#touch(notes, options);
      return undefined;
    }
    const looked = notes.loaded;
    if (notes.token !== undefined && !looked && !this.#common.checks && !this.#migrates) {
      if (await this.#writeUnread(notes, changes)) return undefined;
    } else {
      const view = await notes.view();
      if (view.record !== undefined) {
        return void await this.#merge(notes, changes, { key: this.#key(notes.token!), first: view });
      }
      if (isTooLate(view, looked)) return void await this.#late(notes, changes, view);
    }
    const values = applied({}, changes.patch);
    if (Object.keys(values).length === 0 && !changes.create) return undefined;
    await this.#check({}, changes.patch);
    return await this.#create(notes, values, {});
  }

  /** Checks before the write that the patch leaves data which the schema accepts. */
  async #check(values: Fields, patch: Patch): Promise<void> {
    if (!this.#common.checks) return;
    if (await this.#common.validate(dataOf(applied(values, patch))) === undefined) {
      throw new TypeError("Cannot commit the session as its data does not match the schema");
    }
  }

  /**
   * Nothing was read and nothing needs to be: the merge finds out whether the session lives. It refuses by
   * itself what a later version of the application wrote. Answers whether all is done: otherwise a new
   * session may begin.
   */
  async #writeUnread(notes: SessionNotes<Data>, changes: SessionChanges): Promise<boolean> {
    const { clock, emit, touchEvery, version } = this.#common;
    const key = this.#key(notes.token!);
    const saved = await this.#store.save(key, { type: "update", ...changes.patch, writerVersion: version });
    if (saved.state === "saved") {
      const { record } = saved;
      if (this.#users !== undefined && clock.now() - record.checkedAt >= touchEvery) {
        if (!await isRevoked(this.#users.index, record)) {
          await this.#store.save(key, { type: "update", checked: true });
        } else {
          await this.#revokeRecord(key, record);
          this.#drop(notes, changes.patch);
        }
      }
      return true;
    }
    if (saved.state === "conflict") this.#refuseNewer(saved.record);
    if (saved.state === "ended") {
      const end = { ended: saved.why, next: saved.next, endedMeanwhile: notes.beganBefore(saved.ago) };
      if (isTooLate(end, false)) {
        await this.#late(notes, changes, end);
        return true;
      }
      if (saved.why === "expired") emit({ type: "expired" });
    }
    if (saved.state === "unknown") emit({ type: "unknown-id" });
    return false;
  }

  /**
   * Ends a request whose session ended under way, without a cookie: the browser is about to get another
   * token, or has lost its own, and nothing may overwrite that. What it changed goes to the session that
   * continues its own, where there is one: it is the same user's. Only a request that began before has that
   * right: otherwise the old token would write on after the rotation.
   */
  async #late(notes: SessionNotes<Data>, changes: SessionChanges, end: End): Promise<void> {
    const { interpret } = this.#common;
    let { next } = end;
    const may = end.ended === "rotated" && end.endedMeanwhile === true && matters(changes.patch);
    for (let i = 0; may && next !== undefined && i <= MAX_ROTATIONS; i++) {
      const key: string = next.startsWith(LOGIN) ? next.slice(LOGIN.length) : next;
      const found = await this.#store.load(key);
      if (found.state === "live") {
        const first = await interpret(found.record);
        if (first.record === undefined) break;
        const patch = await notes.replay(first.values);
        return await this.#merge(notes, { ...changes, patch }, { key, first });
      }
      next = found.state === "ended" && found.why === "rotated" ? found.next : undefined;
    }
    this.#drop(notes, changes.patch);
  }

  /** Drops what the request changed, and says so. */
  #drop(notes: SessionNotes<Data>, patch: Patch, handle?: string): void {
    notes.lost ||= matters(patch);
    this.#common.emit({ type: "conflict", ...(handle !== undefined && { handle }) });
  }

  /** Throws where a later version of the application wrote the record. */
  #refuseNewer({ handle, schemaVersion }: SessionRecord): void {
    const { emit, version } = this.#common;
    if (schemaVersion <= version) return;
    emit({ type: "newer-version", handle });
    throw newerVersion(schemaVersion, version);
  }

  /** Merges the changes into the record under `key`, which was just seen as `first`. */
  async #merge(
    notes: SessionNotes<Data>,
    changes: SessionChanges,
    { key, first }: { readonly key: string; readonly first: SessionView },
  ): Promise<void> {
    const { interpret, version } = this.#common;
    let view = first;
    let patch = changes.patch;
    for (let attempt = 1; attempt <= MOST_TRIES; attempt++) {
      await this.#check(view.values, patch);
      const record = view.record!;
      const saved = await this.#store.save(key, {
        type: "update",
        ...(view.raised ? combined(difference(record.values, view.values), patch) : patch),
        ...(view.raised && { schemaVersion: version }),
        writerVersion: version,
        // A migration replaces only the record that it was computed from: of two instances one migrates.
        ifVersion: changes.depends || view.raised ? record.version : undefined,
        checked: first.checked ?? false,
      });
      if (saved.state === "saved") return;
      // It was seen alive: whatever ended it did so while this request was under way.
      if (saved.state === "ended" && saved.why === "rotated" && saved.next !== undefined) {
        return await this.#late(notes, changes, { ended: saved.why, next: saved.next, endedMeanwhile: true });
      }
      view = saved.state === "conflict" ? await interpret(saved.record) : NO_SESSION;
      if (view.record === undefined) return this.#drop(notes, patch, first.record!.handle);
      patch = await notes.replay(view.values);
      await systemClock.sleep(Math.random() * Math.min(2 ** attempt, 50));
    }
    throw new HoldfastError("contention", "Cannot commit the session as others change it all the time", {
      retryable: true,
    });
  }

  /** Touches a session that the application has read, at most once per `touchEvery`. */
  async #touch(notes: SessionNotes<Data>, { waitUntil }: CommitOptions): Promise<void> {
    const { clock, emit, fault, touchEvery } = this.#common;
    const { record, checked, degraded } = await notes.found();
    if (record === undefined || degraded) return;
    if (!checked && clock.now() - record.touchedAt < touchEvery) return;
    const change = { type: "update", checked: checked ?? false } as const;
    const work = this.#store.save(this.#key(notes.token!), change).then(
      () => {},
      (error) => {
        emit({ type: "touch-failed", handle: record.handle });
        fault(error);
      },
    );
    if (waitUntil === undefined || dropRejection(waitUntil(work)) === false) await work;
  }

  /** Stores a new session, listed first: one that cannot be listed must not exist. */
  async #put(
    notes: SessionNotes<Data>,
    values: Fields,
    owner: {
      readonly userId?: string | undefined;
      readonly login?: boolean;
      readonly old?: SessionRecord;
      readonly schemaVersion?: number | undefined;
    },
  ): Promise<{ key: string; maxAge: number } | "revoked"> {
    const { absolute, clock, idle, version } = this.#common;
    const { userId, login = false, old, schemaVersion = version } = owner;
    const handle = notes.newHandle;
    const key = this.#key(notes.newToken);
    const now = clock.now();
    // A login resets the absolute timeout; a rotation keeps it.
    const before = login ? undefined : old;
    const endsAt = before?.endsAt ?? now + absolute;
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
      idleTimeout: idle,
      absoluteTimeout: absolute,
      schemaVersion,
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
    notes: SessionNotes<Data>,
    values: Fields,
    owner: { readonly userId?: string; readonly login?: boolean },
  ): Promise<string> {
    const { emit } = this.#common;
    const stored = await this.#put(notes, values, owner);
    if (stored === "revoked") throw this.#beaten(owner.userId);
    emit({ type: "created", handle: notes.newHandle, ...user(owner.userId) });
    if (owner.login) emit({ type: "logged-in", handle: notes.newHandle, ...user(owner.userId) });
    return this.#cookie.write(notes.newToken, stored.maxAge);
  }

  /** Refuses a login during which the user was revoked: its reason may no longer hold. */
  #beaten(userId: string | undefined): HoldfastError {
    this.#common.emit({ type: "refused", ...user(userId) });
    return new HoldfastError(
      "session-unavailable",
      "Cannot log in as the user's sessions were revoked meanwhile",
      { retryable: true },
    );
  }

  /**
   * Creates the new session before the old one ends. Of two parallel rotations one wins and the other sets no
   * cookie; a login never depends on the session of its request.
   */
  async #rotate(notes: SessionNotes<Data>, changes: SessionChanges): Promise<string | undefined> {
    const { login } = changes;
    const looked = notes.loaded;
    const view = await notes.view();
    const { record: old } = view;
    // The view may have dropped from the notes what was computed from another user's values.
    const patch = login === undefined ? changes.patch : notes.patch();
    const next = applied(view.values, patch);
    await this.#check(view.values, patch);
    if (old === undefined) {
      if (login === undefined) {
        if (isTooLate(view, looked)) return void await this.#late(notes, changes, view);
        if (Object.keys(next).length === 0 && !changes.create) return undefined;
      } else await this.#endDuplicates(notes);
      return await this.#create(notes, next, login === undefined ? {} : { userId: login, login: true });
    }
    return await this.#replace(notes, changes, view, patch);
  }

  /**
   * Ends the sessions of ambiguous cookies at a login. Otherwise the new cookie would be one of several live
   * ones, and none would be used.
   */
  async #endDuplicates({ tokens }: SessionNotes<Data>): Promise<void> {
    if (tokens.length < 2) return;
    await Promise.all(tokens.map((token) => this.#store.delete(this.#key(token), { why: "rotated" })));
  }

  /** Does the second half of a rotation: `view` has a record, and `patch` was checked. */
  async #replace(
    notes: SessionNotes<Data>,
    changes: SessionChanges,
    view: SessionView,
    patch: Patch,
  ): Promise<string | undefined> {
    const { emit } = this.#common;
    const old = view.record!;
    const { login } = changes;
    const key = this.#key(notes.token!);
    const clean = notes.changesUser(view);
    const userId = login ?? old.userId;
    const next = applied(view.values, patch);
    const schemaVersion = clean ? undefined : view.schemaVersion;
    const stored = await this.#put(notes, next, { userId, login: login !== undefined, old, schemaVersion });
    if (stored === "revoked") {
      if (login !== undefined) throw this.#beaten(login);
      await this.#revokeRecord(key, old);
      if (matters(patch)) this.#drop(notes, patch, old.handle);
      return this.#cookie.write("", 0);
    }
    const handle = notes.newHandle;
    // The new token was never sent; if the store is unavailable now, the session times out.
    const drop = () => this.#store.delete(stored.key, { why: "revoked" }).catch(() => undefined);
    let last: SessionRecord | undefined;
    try {
      // Another user's login is a session of its own: nothing of the old one reaches it. That of the same
      // user gets what requests under way write, while a late logout of the old session does not end it.
      const next = `${login === undefined ? "" : LOGIN}${stored.key}`;
      const continued = userId === old.userId ? { next } : {};
      last = await this.#store.delete(key, { why: "rotated", ...continued });
    } catch (error) {
      await drop();
      throw error;
    }
    if (last === undefined && login === undefined) {
      await drop();
      if (userId !== undefined) await this.#users?.remove(userId, handle);
      if (!matters(patch)) return void emit({ type: "conflict", handle: old.handle });
      const found = await this.#store.load(key);
      const end = found.state === "ended" ? { ended: found.why, next: found.next } : {};
      return void await this.#late(notes, { ...changes, patch }, { ...end, endedMeanwhile: true });
    }
    if (last !== undefined && !clean) {
      await this.#moveAlong(notes, changes, view, patch, { last, key: stored.key });
    }
    if (old.userId !== undefined) await this.#users?.remove(old.userId, old.handle);
    emit({ type: "rotated", handle, ...user(userId) });
    if (login !== undefined) emit({ type: "logged-in", handle, ...user(userId) });
    return this.#cookie.write(notes.newToken, stored.maxAge);
  }

  /**
   * Copies to the new session what parallel requests committed between this request's load and its claim,
   * except the fields that this request changed itself. A record that a later version of the application
   * wrote meanwhile is copied whole, and this request's changes are dropped: they belong to a version that
   * the record no longer has.
   */
  async #moveAlong(
    notes: SessionNotes<Data>,
    changes: SessionChanges,
    view: SessionView,
    patch: Patch,
    { last, key }: { readonly last: SessionRecord; readonly key: string },
  ): Promise<void> {
    const { emit, interpret, version } = this.#common;
    const old = view.record!;
    if (last.version === old.version) return;
    if (last.schemaVersion > version) {
      emit({ type: "conflict", handle: last.handle });
      const whole = difference(applied(view.values, patch), last.values);
      await this.#store.save(key, { type: "update", ...whole, schemaVersion: last.schemaVersion });
      return;
    }
    const now = await interpret(last);
    const late = without(difference(view.values, now.values), patch);
    if (now.record === undefined || isEmpty(late)) return;
    const again = changes.depends ? await notes.replay(now.values) : undefined;
    await this.#store.save(key, { type: "update", ...(again ? combined(late, again) : late) });
  }

  /**
   * Ends every session of the request. A session that was rotated a moment ago is followed to the one that
   * continues it, so that a rotation in parallel to a logout leaves no live session.
   */
  async #revoke({ tokens }: SessionNotes<Data>): Promise<string | undefined> {
    if (tokens.length === 0) return undefined;
    await Promise.all(tokens.map(async (token) => {
      let key: string | undefined = this.#key(token);
      for (let i = 0; key !== undefined && i <= MAX_ROTATIONS; i++) key = await this.#end(key);
    }));
    return this.#cookie.write("", 0);
  }

  /** Ends a session, and answers the key of the session that continues it, if it was rotated. */
  async #end(key: string): Promise<string | undefined> {
    // The entry in the index stays until it is next read, so that a logout is one call.
    const last = await this.#store.delete(key, { why: "revoked" });
    if (last !== undefined) {
      this.#common.emit({ type: "revoked", handle: last.handle, ...user(last.userId) });
      return undefined;
    }
    const found = await this.#store.load(key);
    const next = found.state === "ended" ? found.next : undefined;
    return next?.startsWith(LOGIN) ? undefined : next;
  }

  async #revokeRecord(key: string, record: SessionRecord): Promise<void> {
    await this.#store.delete(key, { why: "revoked" });
    this.#common.emit({ type: "revoked", handle: record.handle, ...user(record.userId) });
  }

  async listSessions(userId: string): Promise<SessionSummary[]> {
    checkUserId("list the user's sessions", userId);
    const live = await this.#reporting(() => this.#indexed().live(userId));
    return live.map(({ record }) => ({
      handle: record.handle,
      createdAt: record.createdAt,
      lastSeenAt: record.touchedAt,
      ...(record.authenticatedAt !== undefined && { authenticatedAt: record.authenticatedAt }),
    })).sort((a, b) => a.createdAt - b.createdAt);
  }

  async revokeSession(userId: string, handle: string): Promise<boolean> {
    checkUserId("revoke the session", userId);
    checkHandle("revoke the session", handle);
    return await this.#reporting(() => this.#indexed().end(userId, handle));
  }

  async revokeUser(userId: string, options: { readonly except?: string | undefined } = {}): Promise<number> {
    checkRevokeUser(userId, options);
    return await this.#reporting(() => this.#indexed().revoke(userId, options.except));
  }

  async revokeAll(): Promise<number> {
    return await this.#reporting(() => this.#indexed().revokeAll());
  }

  async #reporting<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      this.#common.fault(error);
      throw error;
    }
  }

  #indexed(): UserWide {
    if (this.#users !== undefined) return this.#users;
    throw new TypeError("Cannot speak of users as the session store has no index");
  }
}

/** Member by member: a spread with more members makes Node a new hidden class for each object. */
function withCheck(view: SessionView, checked: boolean, degraded: boolean): SessionView {
  const { record, values, schemaVersion, raised } = view;
  return { record, values, schemaVersion, raised, checked, degraded };
}

/** The session store over the argument of `createSessions`. */
function sessionStore(store: AtomicStore | SessionStore, options: SessionsOptions<Schema>): SessionStore {
  const timeout = toMilliseconds(options.timeout ?? "5s", "timeout");
  const eventual = checkOneOf("make sessions", "eventual", options.eventual ?? false, [true, false]);
  if (typeof (store as AtomicStore | undefined)?.transact === "function") {
    return atomicSessionStore(store as AtomicStore, { name: options.name });
  }
  const sessions = store as SessionStore | undefined;
  if (typeof sessions?.load !== "function" || typeof sessions.save !== "function") {
    throw new TypeError("Cannot make sessions as they need an AtomicStore or a SessionStore");
  }
  if (sessions.consistency !== "atomic" && !eventual) {
    throw new TypeError("Cannot make sessions as an eventually consistent store needs 'eventual: true'");
  }
  return withDeadline(sessions, timeout);
}

function user(userId: string | undefined): { readonly userId?: string } {
  return userId === undefined ? {} : { userId };
}
