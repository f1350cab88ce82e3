/** The session of one request: what was loaded, what changed, and what it wants to become true. */
import type { Clock } from "../clock.ts";
import { decodeValue, encodeValue } from "../codec.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { randomToken } from "../secret.ts";
import { csrfToken, sameSecret } from "./_csrf.ts";
import { sha256 } from "./_sha256.ts";
import type { Fields } from "../store/transition.ts";
import { applied, dataOf, type Patch } from "./_patch.ts";
import type { SessionEvent } from "./session_event.ts";
import type { SessionRecord } from "./session_record.ts";
import type { SessionEnd } from "./session_store.ts";
import type { Session } from "./session.ts";

/** What a request found. */
export interface SessionView {
  /** The session, or `undefined` when there is none to speak of. */
  readonly record: SessionRecord | undefined;
  /** Its values, migrated. */
  readonly values: Fields;
  /** Whether they are not what is stored. */
  readonly migrated?: boolean;
  /** Whether it was just held against the epochs. */
  readonly checked?: boolean;
  /** Whether a copy answered. */
  readonly degraded?: boolean;
  /** What its CSRF token is made of, where it is not the token. */
  readonly secret?: string;
  /** Why there is none, if that is known. */
  readonly ended?: SessionEnd;
}

/** Nothing found. */
export const NO_SESSION: SessionView = { record: undefined, values: {} };

/** Where a request's session comes from. */
export interface SessionSource<Data> {
  /** Whether data must pass a schema. */
  readonly checks: boolean;
  /** Whose time it is. */
  readonly clock: Clock;
  /** Hears what happens. */
  readonly emit: (event: SessionEvent) => void;
  /** Looks it up. */
  load(session: RequestSession<Data>): Promise<SessionView>;
  /** What the schema makes of it; `undefined` when it refuses. */
  validate(values: Record<string, unknown>): Promise<Data | undefined>;
}

/** What a request wants to become true. */
export interface SessionChanges {
  /** What changes. */
  readonly patch: Patch;
  /** Whether the patch was computed from what was there. */
  readonly depends: boolean;
  /** Whether a new session must be stored although it is empty. */
  readonly create: boolean;
  /** Whether the token changes. */
  readonly rotate: boolean;
  /** Who logs in. */
  readonly login: string | undefined;
  /** Whether the session ends. */
  readonly revoke: boolean;
}

// deno-lint-ignore no-explicit-any
type Change = (value: any) => any;

/** The session of one request: its token, what was loaded, what changed. */
export class RequestSession<Data> implements Session<Data> {
  /** What the browser sent, if it was well-formed. */
  readonly token: string | undefined;
  readonly #source: SessionSource<Data>;
  readonly #set: Record<string, string> = {};
  readonly #unset = new Set<string>();
  readonly #updates = new Map<string, Change[]>();
  #view: Promise<SessionView> | undefined;
  #asked = false;
  #key: string | undefined;
  #newHandle: string | undefined;
  #newToken: string | undefined;
  #create = false;
  #rotate = false;
  #login: string | undefined;
  #revoke = false;
  #committed = false;

  /** Makes a session that has not loaded anything. */
  constructor(token: string | undefined, source: SessionSource<Data>) {
    this.token = token;
    this.#source = source;
  }

  /** Whether a record was looked up. */
  get loaded(): boolean {
    return this.#view !== undefined;
  }

  /** Whether somebody looked, so that what they answer depends on the cookie. */
  get asked(): boolean {
    return this.#asked;
  }

  /** Under which key the record is. */
  get key(): string {
    return this.#key ??= sha256(this.token!);
  }

  /** The handle it will have when it is stored anew. */
  get newHandle(): string {
    return this.#newHandle ??= randomToken(12);
  }

  /** The token it will have when it is stored anew. */
  get newToken(): string {
    return this.#newToken ??= randomToken(32);
  }

  /** What was found when first asked for; a failed load may be tried again. */
  view(): Promise<SessionView> {
    this.#asked = true;
    if (this.token === undefined) return Promise.resolve(NO_SESSION);
    return this.#view ??= this.#source.load(this).catch((error) => {
      this.#view = undefined;
      throw error;
    });
  }

  /** Ends the changing, and answers what there is to do. */
  freeze(failed: boolean): SessionChanges {
    this.#change();
    this.#committed = true;
    return {
      patch: failed ? { set: {}, unset: [] } : this.#patch(),
      depends: !failed && this.#updates.size > 0,
      create: !failed && this.#create,
      rotate: this.#rotate,
      login: failed ? undefined : this.#login,
      revoke: this.#revoke,
    };
  }

  /** The patch once more, computed from what another request left. */
  async replay(values: Fields): Promise<Patch> {
    const { set, unset } = this.#patch();
    const own = Object.fromEntries(Object.entries(set).filter(([field]) => !this.#updates.has(field)));
    const data = await this.#checked(
      applied(values, { set: own, unset: unset.filter((field) => !this.#updates.has(field)) }),
    ) as Record<string, unknown>;
    const gone = new Set(unset.filter((field) => !this.#updates.has(field)));
    for (const [field, changes] of this.#updates) {
      const value = changes.reduce((value, change) => change(value), data[field.slice(2)]);
      if (value === undefined) gone.add(field);
      else own[field] = encodeValue(value);
    }
    return { set: own, unset: [...gone] };
  }

  #patch(): Patch {
    return { set: this.#set, unset: [...this.#unset] };
  }

  #change(): void {
    if (this.#committed) {
      throw new HoldfastError(
        "session-committed",
        "Cannot change the session as its request has committed it",
      );
    }
  }

  #put(field: string, value: unknown): void {
    if (value === undefined) {
      this.#unset.add(field);
      delete this.#set[field];
    } else {
      this.#set[field] = encodeValue(value);
      this.#unset.delete(field);
    }
  }

  async #checked(values: Fields): Promise<Data> {
    const data = await this.#source.validate(dataOf(values));
    if (data !== undefined) return data;
    throw new TypeError("Cannot read the session as its data does not match the schema");
  }

  async data(): Promise<Readonly<Data>> {
    return await this.#checked(applied((await this.view()).values, this.#patch()));
  }

  async get<K extends keyof Data & string>(key: K): Promise<Data[K]> {
    if (this.#source.checks) return (await this.data())[key];
    const field = `d:${key}`;
    const { values } = await this.view();
    const text = this.#unset.has(field) ? undefined : this.#set[field] ?? values[field];
    return (text === undefined ? undefined : decodeValue(text)) as Data[K];
  }

  set<K extends keyof Data & string>(key: K, value: Data[K]): void {
    this.#change();
    this.#put(`d:${key}`, value);
    this.#updates.delete(`d:${key}`);
  }

  async update<K extends keyof Data & string>(
    key: K,
    change: (value: Data[K]) => Data[K],
  ): Promise<Data[K]> {
    this.#change();
    const field = `d:${key}`;
    const value = change(await this.get(key));
    this.#change();
    const known = this.#updates.get(field);
    const mine = field in this.#set || this.#unset.has(field);
    if (known !== undefined) known.push(change);
    else if (!mine) this.#updates.set(field, [change]); // what this request set itself depends on nobody
    this.#put(field, value);
    return value;
  }

  unset(key: keyof Data & string): void {
    this.#change();
    this.#put(`d:${key}`, undefined);
    this.#updates.delete(`d:${key}`);
  }

  flash(key: string, value: unknown): void {
    this.#change();
    this.#put(`f:${key}`, value);
  }

  async takeFlash(key: string): Promise<unknown> {
    const field = `f:${key}`;
    const text = (await this.view()).values[field];
    if (text === undefined || this.#unset.has(field)) return undefined;
    this.#change();
    if (!(field in this.#set)) this.#unset.add(field);
    return decodeValue(text);
  }

  async isNew(): Promise<boolean> {
    return (await this.view()).record === undefined;
  }

  async isDegraded(): Promise<boolean> {
    return (await this.view()).degraded ?? false;
  }

  async handle(): Promise<string> {
    const { record } = await this.view();
    if (record !== undefined && !this.#rotate) return record.handle;
    if (record === undefined && !this.#committed) this.#create = true;
    return this.newHandle;
  }

  async userId(): Promise<string | undefined> {
    return this.#login ?? (await this.view()).record?.userId;
  }

  async authenticatedAt(): Promise<number | undefined> {
    if (this.#login !== undefined) return this.#source.clock.now();
    return (await this.view()).record?.authenticatedAt;
  }

  async isFresh(within: Duration): Promise<boolean> {
    const longest = toMilliseconds(within, "within");
    if (this.#login !== undefined) return true;
    const { record, degraded } = await this.view();
    if (degraded || record?.authenticatedAt === undefined) return false;
    return this.#source.clock.now() < record.authenticatedAt + longest;
  }

  async csrfToken(): Promise<string> {
    const { record, secret } = await this.view();
    if (record !== undefined && !this.#rotate) return csrfToken(secret ?? this.token!);
    if (record === undefined && !this.#committed) this.#create = true;
    return csrfToken(this.newToken);
  }

  async verifyCsrfToken(token: string | null | undefined): Promise<boolean> {
    const { record, secret } = await this.view();
    const same = record !== undefined && typeof token === "string" &&
      sameSecret(token, csrfToken(secret ?? this.token!));
    if (!same) this.#source.emit({ type: "csrf-rejected", ...(record && { handle: record.handle }) });
    return same;
  }

  login(userId: string): void {
    this.#change();
    if (typeof userId !== "string" || userId === "" || !userId.isWellFormed()) {
      throw new TypeError("Cannot log in as the user id must be a non-empty, well-formed string");
    }
    this.#login = userId;
    this.#rotate = true;
  }

  rotate(): void {
    this.#change();
    this.#rotate = true;
  }

  revoke(): void {
    this.#change();
    this.#revoke = true;
  }
}
