import { decodeValue, encodeValue } from "../codec.ts";
import { HoldfastError } from "../errors.ts";
import { randomToken } from "../secret.ts";
import type { Fields } from "../store/transition.ts";

/**
 * One request's view of a session. Reading loads it, once; changing is noted and made true when the request commits.
 * A change after that throws `session-committed`, since nobody would ever see it.
 */
export interface Session<Data> {
  /** Everything it holds, with this request's own changes; what the schema makes of `{}` when it is new. */
  data(): Promise<Readonly<Data>>;
  /** One value. */
  get<K extends keyof Data & string>(key: K): Promise<Data[K]>;
  /** Notes a value; parallel requests that change other keys lose nothing. */
  set<K extends keyof Data & string>(key: K, value: Data[K]): void;
  /** Notes that a value goes. */
  unset(key: keyof Data & string): void;
  /** Notes a value for the next request alone. */
  flash(key: string, value: unknown): void;
  /** Takes what a request before left with `flash`. */
  takeFlash(key: string): Promise<unknown>;
  /** Whether there is no such session yet. */
  isNew(): Promise<boolean>;
  /** A random public name, safe in lists and logs. Asking a new session for it means that it will be stored. */
  handle(): Promise<string>;
  /** Who is logged in. */
  userId(): Promise<string | undefined>;
  /** When they logged in, in milliseconds since the epoch. */
  authenticatedAt(): Promise<number | undefined>;
  /** Notes who is logged in; the token changes, so that one planted before is worth nothing. */
  login(userId: string): void;
  /** Notes that the token changes; the old one dies at once. */
  rotate(): void;
  /** Notes that the session ends. */
  revoke(): void;
}

/** What a request wants to become true. */
export interface SessionChanges {
  /** `d:*` and `f:*` to set, `x:*` to unset. */
  readonly patch: Fields;
  /** Whether a new session must be stored although it is empty. */
  readonly create: boolean;
  /** Whether the token changes. */
  readonly rotate: boolean;
  /** Who logs in. */
  readonly login: string | undefined;
  /** Whether the session ends. */
  readonly revoke: boolean;
}

/** The session of one request: its token, what was loaded, what changed. */
export class RequestSession<Data> implements Session<Data> {
  /** What the browser sent, if it was well-formed. */
  readonly token: string | undefined;
  readonly #load: () => Promise<Fields | undefined>;
  readonly #validate: (values: Record<string, unknown>) => Promise<Data | undefined>;
  readonly #patch: Record<string, string> = {};
  #record: Promise<Fields | undefined> | undefined;
  #newHandle: string | undefined;
  #create = false;
  #rotate = false;
  #login: string | undefined;
  #revoke = false;
  #committed = false;

  /** Makes a session that has not loaded anything. */
  constructor(
    token: string | undefined,
    load: () => Promise<Fields | undefined>,
    validate: (values: Record<string, unknown>) => Promise<Data | undefined>,
  ) {
    this.token = token;
    this.#load = load;
    this.#validate = validate;
  }

  /** Whether somebody looked. */
  get loaded(): boolean {
    return this.#record !== undefined;
  }

  /** The handle it will have when it is stored anew. */
  get newHandle(): string {
    return this.#newHandle ??= randomToken(12);
  }

  /** The record as it was when first asked for; a failed load may be tried again. */
  record(): Promise<Fields | undefined> {
    return this.#record ??= this.#load().catch((error) => {
      this.#record = undefined;
      throw error;
    });
  }

  /** Ends the changing, and answers what there is to do. */
  freeze(failed: boolean): SessionChanges {
    this.#change();
    this.#committed = true;
    return {
      patch: failed ? {} : this.#patch,
      create: !failed && this.#create,
      rotate: this.#rotate && !(failed && this.#login !== undefined && this.token === undefined),
      login: this.#login,
      revoke: this.#revoke,
    };
  }

  #change(): void {
    if (this.#committed) {
      throw new HoldfastError(
        "session-committed",
        "Cannot change the session as its request has committed it",
      );
    }
  }

  async data(): Promise<Readonly<Data>> {
    const values: Record<string, unknown> = Object.create(null);
    for (const [field, text] of Object.entries({ ...await this.record(), ...this.#patch })) {
      if (field.startsWith("d:") && !(`x:${field}` in this.#patch)) {
        values[field.slice(2)] = decodeValue(text);
      }
    }
    const data = await this.#validate(values);
    if (data === undefined) {
      throw new TypeError("Cannot read the session as its data does not match the schema");
    }
    return data;
  }

  async get<K extends keyof Data & string>(key: K): Promise<Data[K]> {
    return (await this.data())[key];
  }

  set<K extends keyof Data & string>(key: K, value: Data[K]): void {
    this.#change();
    if (value === undefined) return this.unset(key);
    this.#patch[`d:${key}`] = encodeValue(value);
    delete this.#patch[`x:d:${key}`];
  }

  unset(key: keyof Data & string): void {
    this.#change();
    this.#patch[`x:d:${key}`] = "";
    delete this.#patch[`d:${key}`];
  }

  flash(key: string, value: unknown): void {
    this.#change();
    this.#patch[`f:${key}`] = encodeValue(value);
    delete this.#patch[`x:f:${key}`];
  }

  async takeFlash(key: string): Promise<unknown> {
    const text = (await this.record())?.[`f:${key}`];
    if (text === undefined || `x:f:${key}` in this.#patch) return undefined;
    this.#change();
    if (!(`f:${key}` in this.#patch)) this.#patch[`x:f:${key}`] = "";
    return decodeValue(text);
  }

  async isNew(): Promise<boolean> {
    return await this.record() === undefined;
  }

  async handle(): Promise<string> {
    const record = await this.record();
    if (record !== undefined && !this.#rotate) return record.h!;
    if (record === undefined && !this.#committed) this.#create = true;
    return this.newHandle;
  }

  async userId(): Promise<string | undefined> {
    return this.#login ?? (await this.record())?.u;
  }

  async authenticatedAt(): Promise<number | undefined> {
    const at = (await this.record())?.a;
    return at === undefined ? undefined : Number(at);
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
