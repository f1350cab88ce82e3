import type { Duration } from "../duration.ts";

/**
 * One request's view of a session. Reading loads it, once; changing is noted and made true when the request
 * commits. A change after that throws `session-committed`, since no request would ever see it.
 */
export interface Session<Data> {
  /** Everything it holds, with this request's own changes; what the schema makes of `{}` when it is new. */
  data(): Promise<Readonly<Data>>;
  /** One value. Changing what comes back changes nothing: `set` it. */
  get<K extends keyof Data & string>(key: K): Promise<Data[K]>;
  /** Notes a value; parallel requests that change other keys lose nothing. */
  set<K extends keyof Data & string>(key: K, value: Data[K]): void;
  /**
   * Notes a value made from the one before, and answers it. If another request was faster, the commit calls
   * `change` again on what that one left: it must do nothing but compute.
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
  /**
   * A random public name, safe in lists and logs. Asking a new session for it means that it will be stored.
   */
  handle(): Promise<string>;
  /** The user who is logged in. */
  userId(): Promise<string | undefined>;
  /** When the user logged in, in milliseconds since the epoch. */
  authenticatedAt(): Promise<number | undefined>;
  /** Whether the user logged in within that time; what may be behind is not fresh. */
  isFresh(within: Duration): Promise<boolean>;
  /**
   * The text that a form must send back, bound to the token: one that was made before a rotation is not
   * accepted after it, and no other site can know it. Each call answers another text (a random mask, against
   * BREACH). Asking a new session for it means that it will be stored.
   */
  csrfToken(): Promise<string>;
  /** Whether that is a CSRF token of this session. */
  verifyCsrfToken(token: string | null | undefined): Promise<boolean>;
  /**
   * Notes the user who is logged in; the token changes, so that one planted before is worth nothing. What an
   * anonymous session holds comes along, as does what the same user's session holds. Over another user's
   * session the login begins empty: values and flash values of that user are not inherited, nor what this
   * request computed from them. Keep a login out of `idempotency()`: its replay sets no cookie.
   */
  login(userId: string): void;
  /** Notes that the token changes; the old one dies at once. */
  rotate(): void;
  /**
   * Notes that the session ends, and forgets what else the request noted. From then on it reads as a new one,
   * and changing it throws a `TypeError`, unless a `login()` follows: that begins another session.
   */
  revoke(): void;
}
