import type { Duration } from "../duration.ts";

/**
 * One request's view of a session. Reading loads it, once; changing is noted and made true when the request commits.
 * A change after that throws `session-committed`, since nobody would ever see it.
 */
export interface Session<Data> {
  /** Everything it holds, with this request's own changes; what the schema makes of `{}` when it is new. */
  data(): Promise<Readonly<Data>>;
  /** One value. Changing what comes back changes nothing: `set` it. */
  get<K extends keyof Data & string>(key: K): Promise<Data[K]>;
  /** Notes a value; parallel requests that change other keys lose nothing. */
  set<K extends keyof Data & string>(key: K, value: Data[K]): void;
  /**
   * Notes a value made from the one before, and answers it. If another request was faster, the commit calls `change` again
   * on what that one left: it must do nothing but compute.
   */
  update<K extends keyof Data & string>(key: K, change: (value: Data[K]) => Data[K]): Promise<Data[K]>;
  /** Notes that a value goes. */
  unset(key: keyof Data & string): void;
  /** Notes a value for the next request alone. */
  flash(key: string, value: unknown): void;
  /** Takes what a request before left with `flash`. */
  takeFlash(key: string): Promise<unknown>;
  /** Whether there is no such session yet. */
  isNew(): Promise<boolean>;
  /** Whether this was read from a copy that may be behind, because the first store did not answer. */
  isDegraded(): Promise<boolean>;
  /** A random public name, safe in lists and logs. Asking a new session for it means that it will be stored. */
  handle(): Promise<string>;
  /** Who is logged in. */
  userId(): Promise<string | undefined>;
  /** When they logged in, in milliseconds since the epoch. */
  authenticatedAt(): Promise<number | undefined>;
  /** Whether they logged in within that time; what may be behind is not fresh. */
  isFresh(within: Duration): Promise<boolean>;
  /**
   * What a form must send back, bound to the token: it changes when the token does, and no other site can know it. Asking a
   * new session for it means that it will be stored.
   */
  csrfToken(): Promise<string>;
  /** Whether that is this session's CSRF token. */
  verifyCsrfToken(token: string | null | undefined): Promise<boolean>;
  /** Notes who is logged in; the token changes, so that one planted before is worth nothing. */
  login(userId: string): void;
  /** Notes that the token changes; the old one dies at once. */
  rotate(): void;
  /** Notes that the session ends, whatever else the request noted. */
  revoke(): void;
}
