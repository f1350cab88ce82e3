/**
 * The private side of a request's session: its tokens, the loaded record and the changes. Nothing of it is
 * reachable from the object that applications hold, so that printing that object shows no token.
 */
import type { Clock } from "../clock.ts";
import { encodeValue } from "../codec.ts";
import { HoldfastError } from "../errors.ts";
import { randomToken } from "../secret.ts";
import type { Awaitable } from "../store/engine.ts";
import type { Fields } from "../store/transition.ts";
import { applied, dataOf, type Patch } from "./_patch.ts";
import type { Sealed } from "./_sealed_value.ts";
import type { SessionEvent } from "./session_event.ts";
import type { SessionRecord } from "./session_record.ts";
import type { SessionEnd } from "./session_store.ts";

/** The session that a request found. */
export interface SessionView {
  /** The record, or `undefined` when there is no live session. */
  readonly record: SessionRecord | undefined;
  /** Its values, migrated. */
  readonly values: Fields;
  /** The schema version of the values. */
  readonly schemaVersion?: number | undefined;
  /** Whether that version is later than the stored one. */
  readonly raised?: boolean | undefined;
  /** Whether the session was just compared with the epochs. */
  readonly checked?: boolean | undefined;
  /** Whether the record comes from a copy. */
  readonly degraded?: boolean | undefined;
  /** The secret of its CSRF tokens, where it is not the session's token. */
  readonly secret?: string;
  /** The content of its cookie, if it is a sealed one. */
  readonly sealed?: Sealed;
  /** The time since the last use of a sealed session, in milliseconds. */
  readonly idle?: number;
  /** The reason that there is none, if it is known. */
  readonly ended?: SessionEnd;
  /** The milliseconds between its rotation or revocation and the look, by the store's clock. */
  readonly endedAgo?: number | undefined;
  /** Whether that happened while this request was under way; `undefined` where the store cannot tell. */
  readonly endedMeanwhile?: boolean | undefined;
  /** The key of the session that continues it; see `SessionDelete.next`. */
  readonly next?: string | undefined;
}

/** The result when there is no session. */
export const NO_SESSION: SessionView = { record: undefined, values: {} };

/** By how many milliseconds two measured durations may be apart and count as the same. */
const CLOCK_TOLERANCE = 100;

/** The end of a session, as a request learnt it. */
export type End = Pick<SessionView, "ended" | "endedMeanwhile" | "next">;

/**
 * Whether a request comes too late for its session, and may begin no other: what it holds is of the user who
 * was logged out, and would reach the next one at the same browser. Where the store cannot tell when that
 * was, a request that `looked` before it wrote knew that it begins anew, and one that did not is refused.
 */
export function isTooLate({ ended, endedMeanwhile }: End, looked: boolean): boolean {
  return ended === "rotated" || (ended === "revoked" && (endedMeanwhile ?? !looked));
}

/** The source of a request's session. */
export interface SessionSource<Data> {
  /**
   * The kind of session: its store, its cookie and its name or purpose. Sessions made twice with equal
   * options, as on Workers for each request, are of one kind. A session is committed by sessions of its own
   * kind alone.
   */
  readonly kind: string;
  /** Whether there is a schema. */
  readonly checks: boolean;
  /** The clock for the age of a login. */
  readonly clock: Clock;
  /** Reports an event. */
  readonly emit: (event: SessionEvent) => void;
  /** Reports a fault of the store. */
  readonly fault: (error: unknown) => void;
  /**
   * Reports what may be a misconfiguration and fails no request: to the console where nothing else listens.
   */
  readonly warn: (error: Error) => void;
  /** Tells whether these sessions have reported the error. */
  readonly isOwnFault: (error: unknown) => boolean;
  /** Loads the session of a token, without a promise where the store answers at once. */
  load(token: string): Awaitable<SessionView>;
  /** The output of the schema; `undefined` when it refuses the data. */
  validate(values: Record<string, unknown>): Promise<Data | undefined>;
}

/** The changes of a request. */
export interface SessionChanges {
  /** The fields to set and unset. */
  readonly patch: Patch;
  /** Whether the patch was computed from the values of the record. */
  readonly depends: boolean;
  /** Whether a new session must be stored although it is empty. */
  readonly create: boolean;
  /** Whether the token changes. */
  readonly rotate: boolean;
  /** The user who logs in. */
  readonly login: string | undefined;
  /** Whether the request's session ends. A login may follow. */
  readonly revoke: boolean;
}

// deno-lint-ignore no-explicit-any
type Change = (value: any) => any;

/** The state of one request: tokens, the loaded session, and changes. */
export class SessionNotes<Data> {
  /** The tokens that the browser sent; more than one when a cookie was planted or left over. */
  readonly tokens: readonly string[];
  readonly source: SessionSource<Data>;
  /** The faults of the store while this request loaded; each is reported once. */
  readonly faults: unknown[] = [];
  /** Whether the application has read or changed the session: its response is for one user alone. */
  touched = false;
  /** The token of the session that was found; before that, the only one that was sent. */
  token: string | undefined;
  /** Whether changes of this request were dropped, as the session had ended meanwhile. */
  lost = false;
  /** The monotonic time at which the request began. */
  readonly #openedAt: number;
  /** The fields that were set, and those that were unset as `undefined`. */
  #changes: Record<string, string | undefined> = {};
  /**
   * The functions that computed fields from the values before; made at the first one, which few requests
   * have.
   */
  #updates: Map<string, Change[]> | undefined;
  /** Fields that were computed, before a login, from the values of the session. */
  #inherited: readonly string[] = [];
  /** The flash values that were taken; a value that is set for the next request does not bring them back. */
  #taken: string[] | undefined;
  /** The number of writes: an update whose value was read before another write is computed again. */
  writes = 0;
  #view: Awaitable<SessionView> | undefined;
  #newHandle: string | undefined;
  #newToken: string | undefined;
  #create = false;
  #rotate = false;
  #login: string | undefined;
  #revoke = false;
  #committed = false;

  constructor(tokens: readonly string[], source: SessionSource<Data>) {
    this.tokens = tokens;
    this.source = source;
    this.#openedAt = source.clock.monotonic();
    if (tokens.length === 1) this.token = tokens[0];
  }

  /** Whether a record was loaded. */
  get loaded(): boolean {
    return this.#view !== undefined;
  }

  /** The handle of the session, should it be created. */
  get newHandle(): string {
    return this.#newHandle ??= randomToken(12);
  }

  /** The token of the session, should it be created. */
  get newToken(): string {
    return this.#newToken ??= randomToken(32);
  }

  get login(): string | undefined {
    return this.#login;
  }

  /** Whether the request has asked for another token. */
  get rotates(): boolean {
    return this.#rotate;
  }

  /**
   * Whether what ended `ago` milliseconds ago ended while this request was under way. Two durations are
   * compared, so no clock need be right. The one of the request is measured now, after the store's reply,
   * which counts what is doubtful as under way; so does the tolerance, for times cut to whole milliseconds
   * and clocks under correction.
   */
  beganBefore(ago: number | undefined): boolean | undefined {
    return ago === undefined
      ? undefined
      : ago <= this.source.clock.monotonic() - this.#openedAt + CLOCK_TOLERANCE;
  }

  /**
   * The session for a read of the application.
   *
   * @throws {HoldfastError} `session-committed` for a first read after the response has left, as that
   * response does not say that it depends on the cookie: a cache would answer it to others
   */
  read(): Awaitable<SessionView> {
    this.#touch();
    return this.view();
  }

  /** The same without this request's changes. */
  readFound(): Awaitable<SessionView> {
    this.#touch();
    return this.found();
  }

  #touch(): void {
    if (this.#committed && !this.touched) {
      throw new HoldfastError(
        "session-committed",
        "Cannot read the session for the first time as its response has left: read it before, in a stream too",
      );
    }
    this.touched = true;
  }

  /** The session that the cookie led to; a failed load may be tried again. */
  found(): Awaitable<SessionView> {
    if (this.tokens.length === 0) return NO_SESSION;
    return this.#view ??= this.#find();
  }

  #find(): Awaitable<SessionView> {
    try {
      // The usual request has one token, which is the session's whatever became of it.
      const found = this.tokens.length === 1 ? this.#load(this.tokens[0]!) : this.#findOne();
      if (!(found instanceof Promise)) return found;
      return found.then((view) => this.#view = view, (error) => this.#fail(error));
    } catch (error) {
      return this.#fail(error);
    }
  }

  #fail(error: unknown): never {
    this.#view = undefined;
    this.faults.push(error);
    this.source.fault(error);
    throw error;
  }

  #load(token: string): Awaitable<SessionView> {
    const view = this.source.load(token);
    return view instanceof Promise ? view.then((view) => this.#dated(view)) : this.#dated(view);
  }

  /** The view with whether the session ended while this request was under way. */
  #dated(view: SessionView): SessionView {
    return view.endedAgo === undefined ? view : { ...view, endedMeanwhile: this.beganBefore(view.endedAgo) };
  }

  /**
   * Loads the sessions of all tokens. If exactly one is live it is used, so that an ended duplicate hides
   * nothing. If several are live none is used: the order of cookies proves nothing, and the use of a planted
   * one would log the victim in as the attacker.
   */
  async #findOne(): Promise<SessionView> {
    const views = await Promise.all(
      this.tokens.map(async (token) => await this.#load(token)),
    );
    const live = views.flatMap((view, i) => view.record === undefined ? [] : [i]);
    this.token = live.length === 1 ? this.tokens[live[0]!] : undefined;
    if (live.length === 1) return views[live[0]!]!;
    if (live.length > 1) return NO_SESSION;
    // Late for a rotation: the browser is about to get the new token, and nothing may overwrite it.
    return views.find(({ ended }) => ended === "rotated") ??
      views.find(({ endedMeanwhile }) => endedMeanwhile) ?? views[0]!;
  }

  /**
   * The session that changes are based on: none after `revoke()`, and no values of another user after
   * `login()`.
   */
  view(): Awaitable<SessionView> {
    if (this.#revoke) return NO_SESSION;
    const view = this.found();
    return view instanceof Promise ? view.then((found) => this.#ofUser(found)) : this.#ofUser(view);
  }

  /** The session that was found, without its values where the login is another user's. */
  #ofUser(view: SessionView): SessionView {
    if (!this.changesUser(view)) return view;
    for (const field of this.#inherited) {
      delete this.#changes[field];
      this.#updates?.delete(field);
    }
    this.#inherited = [];
    return { ...view, values: {} };
  }

  /** Whether the login is for another user than the session's. */
  changesUser({ record }: SessionView): boolean {
    const user = record?.userId;
    return this.#login !== undefined && user !== undefined && user !== this.#login;
  }

  /** Closes the session for changes, and answers them. */
  freeze(failed: boolean): SessionChanges {
    const { touched } = this;
    this.checkOpen();
    this.touched = touched; // a commit alone changes nothing
    this.#committed = true;
    return {
      patch: failed ? { set: {}, unset: [] } : this.patch(),
      depends: !failed && this.#updates !== undefined && this.#updates.size > 0,
      create: !failed && this.#create,
      rotate: this.#rotate,
      login: failed ? undefined : this.#login,
      revoke: this.#revoke,
    };
  }

  /** The changes so far. */
  patch(): Patch {
    const set: Record<string, string> = {};
    const unset: string[] = [];
    for (const field in this.#changes) {
      const text = this.#changes[field];
      if (text === undefined) unset.push(field);
      else set[field] = text;
    }
    return { set, unset };
  }

  /** Computes the patch again, from the values that another request has committed. */
  async replay(values: Fields): Promise<Patch> {
    const { set, unset } = this.patch();
    const updates = this.#updates ?? new Map<string, Change[]>();
    const own = Object.fromEntries(Object.entries(set).filter(([field]) => !updates.has(field)));
    const gone = new Set(unset.filter((field) => !updates.has(field)));
    const data = await this.checked(applied(values, { set: own, unset: [...gone] })) as Record<
      string,
      unknown
    >;
    for (const [field, changes] of updates) {
      const value = changes.reduce((value, change) => change(value), data[field.slice(2)]);
      if (value === undefined) gone.add(field);
      else own[field] = encodeValue(value);
    }
    return { set: own, unset: [...gone] };
  }

  /** The data that the schema makes of the values. */
  async checked(values: Fields): Promise<Data> {
    const data = await this.source.validate(dataOf(values));
    if (data !== undefined) return data;
    throw new TypeError("Cannot read the session as its data does not match the schema");
  }

  /** Refuses a change that nothing would come of, and notes that there is one. */
  checkOpen(): void {
    if (this.#committed) {
      throw new HoldfastError(
        "session-committed",
        "Cannot change the session as its request has committed it",
      );
    }
    this.touched = true;
  }

  /** Refuses a change of a session that the request has ended. */
  checkChangeable(): void {
    this.checkOpen();
    if (this.#revoke && this.#login === undefined) {
      throw new TypeError(
        "Cannot change the session as this request revoked it: log in first to begin another",
      );
    }
  }

  /** Notes that a session must be stored, though it be empty: its handle or its CSRF token was handed out. */
  create(): void {
    if (this.#create || (this.#committed && Object.keys(this.patch().set).length > 0)) return;
    this.checkChangeable();
    this.#create = true;
  }

  put(field: string, value: unknown): void {
    this.#changes[field] = value === undefined ? undefined : encodeValue(value);
    this.writes++;
  }

  /** Notes a value that depends on nothing. */
  putOwn(field: string, value: unknown): void {
    this.checkChangeable();
    this.put(field, value);
    this.#updates?.delete(field);
    this.#inherited = this.#inherited.filter((name) => name !== field);
  }

  /** Notes a value that was computed from the one before. */
  putUpdate(field: string, value: unknown, change: Change): void {
    const updates = this.#updates ??= new Map();
    const known = updates.get(field);
    if (known !== undefined) known.push(change);
    else if (!(field in this.#changes)) updates.set(field, [change]); // what this request set itself depends on no other
    this.put(field, value);
  }

  /** The text of a field with this request's own changes. */
  field(field: string, values: Fields): string | undefined {
    return field in this.#changes ? this.#changes[field] : values[field];
  }

  isSet(field: string): boolean {
    return this.#changes[field] !== undefined;
  }

  isUnset(field: string): boolean {
    return field in this.#changes && !this.isSet(field);
  }

  /** Notes that a flash value is taken; answers whether it was there to take. */
  take(field: string): boolean {
    if (this.#taken?.includes(field) || this.isUnset(field)) return false;
    this.checkChangeable();
    (this.#taken ??= []).push(field);
    if (!this.isSet(field)) this.put(field, undefined);
    return true;
  }

  noteLogin(userId: string): void {
    this.checkOpen();
    this.#inherited = [...this.#inherited, ...this.#updates?.keys() ?? []];
    this.#login = userId;
    this.#rotate = true;
  }

  noteRotation(): void {
    this.checkChangeable();
    this.#rotate = true;
  }

  /** Notes that the session ends, and forgets whatever else was noted. */
  noteRevocation(): void {
    this.checkOpen();
    this.#changes = {};
    this.#updates = undefined;
    this.#inherited = [];
    this.#create = this.#rotate = false;
    this.#login = undefined;
    this.#revoke = true;
  }
}
