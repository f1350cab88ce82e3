/** The session of one request, as applications hold it. */
import { decodeValue } from "../codec.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { checkUserId } from "./_common_options.ts";
import { csrfToken, isCsrfToken } from "./_csrf.ts";
import { applied } from "./_patch.ts";
import { SessionNotes, type SessionSource } from "./_session_notes.ts";
import type { Session } from "./session.ts";

/** The inner side of a session of ours; `undefined` for any other object. */
export function notesOf<Data>(session: Session<Data>): SessionNotes<Data> | undefined {
  return RequestSession.notesOf(session);
}

/**
 * Notes what a request changes. All its state is private: inspecting it or writing it as JSON shows nothing.
 */
export class RequestSession<Data> implements Session<Data> {
  readonly #notes: SessionNotes<Data>;

  /** Makes a session that has not loaded anything. */
  constructor(tokens: readonly string[], source: SessionSource<Data>) {
    this.#notes = new SessionNotes(tokens, source);
  }

  /** See the function of that name. A WeakMap would make work for the collector at every request. */
  static notesOf<Data>(session: unknown): SessionNotes<Data> | undefined {
    const isOurs = typeof session === "object" && session !== null && #notes in session;
    return isOurs ? (session as RequestSession<unknown>).#notes as SessionNotes<Data> : undefined;
  }

  async data(): Promise<Readonly<Data>> {
    const { values } = await this.#notes.read();
    return await this.#notes.checked(applied(values, this.#notes.patch()));
  }

  async get<K extends keyof Data & string>(key: K): Promise<Data[K]> {
    if (this.#notes.source.checks) return (await this.data())[key];
    const view = this.#notes.read();
    const { values } = view instanceof Promise ? await view : view;
    const text = this.#notes.field(`d:${key}`, values);
    return (text === undefined ? undefined : decodeValue(text)) as Data[K];
  }

  set<K extends keyof Data & string>(key: K, value: Data[K]): void {
    this.#notes.putOwn(`d:${key}`, value);
  }

  async update<K extends keyof Data & string>(
    key: K,
    change: (value: Data[K]) => Data[K],
  ): Promise<Data[K]> {
    for (;;) {
      this.#notes.checkChangeable();
      const { writes } = this.#notes;
      const before = await this.get(key);
      if (writes !== this.#notes.writes) continue; // this request wrote meanwhile, perhaps to the same key
      const value = change(before);
      this.#notes.checkChangeable();
      this.#notes.putUpdate(`d:${key}`, value, change);
      return value;
    }
  }

  unset(key: keyof Data & string): void {
    this.#notes.putOwn(`d:${key}`, undefined);
  }

  flash(key: string, value: unknown): void {
    this.#notes.putOwn(`f:${key}`, value);
  }

  async takeFlash(key: string): Promise<unknown> {
    const field = `f:${key}`;
    const text = (await this.#notes.read()).values[field];
    return text === undefined || !this.#notes.take(field) ? undefined : decodeValue(text);
  }

  async isNew(): Promise<boolean> {
    return (await this.#notes.read()).record === undefined;
  }

  async isDegraded(): Promise<boolean> {
    return (await this.#notes.read()).degraded ?? false;
  }

  async handle(): Promise<string> {
    const { record } = await this.#notes.read();
    if (record !== undefined && !this.#notes.rotates) return record.handle;
    if (record === undefined) this.#notes.create();
    return this.#notes.newHandle;
  }

  async userId(): Promise<string | undefined> {
    return this.#notes.login ?? (await this.#notes.read()).record?.userId;
  }

  async authenticatedAt(): Promise<number | undefined> {
    if (this.#notes.login !== undefined) return this.#notes.source.clock.now();
    return (await this.#notes.read()).record?.authenticatedAt;
  }

  async isFresh(within: Duration): Promise<boolean> {
    const longest = toMilliseconds(within, "within");
    if (this.#notes.login !== undefined) return true;
    const { record, degraded } = await this.#notes.read();
    if (degraded || record?.authenticatedAt === undefined) return false;
    return this.#notes.source.clock.now() < record.authenticatedAt + longest;
  }

  async csrfToken(): Promise<string> {
    const { record, secret } = await this.#notes.read();
    if (record !== undefined && !this.#notes.rotates) return csrfToken(secret ?? this.#notes.token!);
    if (record === undefined) this.#notes.create();
    return csrfToken(this.#notes.newToken);
  }

  async verifyCsrfToken(token: string | null | undefined): Promise<boolean> {
    const { record, secret } = await this.#notes.readFound();
    const same = record !== undefined && isCsrfToken(token, secret ?? this.#notes.token!);
    if (!same) this.#notes.source.emit({ type: "csrf-rejected", ...(record && { handle: record.handle }) });
    return same;
  }

  login(userId: string): void {
    this.#notes.checkOpen();
    checkUserId("log in", userId);
    this.#notes.noteLogin(userId);
  }

  rotate(): void {
    this.#notes.noteRotation();
  }

  revoke(): void {
    this.#notes.noteRevocation();
  }

  /** Nothing: a session that ends up in an answer or a log tells neither its token nor its values. */
  toJSON(): Record<string, never> {
    return {};
  }
}
