import type { Duration } from "../duration.ts";

/**
 * A session as one request sees it. The first read loads it. Changes are collected and stored when the
 * request commits; a change after the commit throws `session-committed`, as it would be lost.
 *
 * @category Sessions
 */
export interface Session<Data> {
  /**
   * Reads all data, with this request's own changes. The data of a new session is the schema's result for
   * `{}`.
   */
  data(): Promise<Readonly<Data>>;
  /** Reads one value. It is a copy: a change of it must be `set`. */
  get<K extends keyof Data & string>(key: K): Promise<Data[K]>;
  /** Sets a value. Parallel requests that change other keys are merged. */
  set<K extends keyof Data & string>(key: K, value: Data[K]): void;
  /**
   * Sets a value computed from the current one, and answers it. If another request commits first, the commit
   * calls `change` again with the value of that request: the function must have no effects.
   */
  update<K extends keyof Data & string>(key: K, change: (value: Data[K]) => Data[K]): Promise<Data[K]>;
  /** Deletes a value. */
  unset(key: keyof Data & string): void;
  /** Sets a value for the next request alone. */
  flash(key: string, value: unknown): void;
  /** Takes a value that an earlier request left with `flash`. */
  takeFlash(key: string): Promise<unknown>;
  /** Whether the session is new. */
  isNew(): Promise<boolean>;
  /** Whether the data comes from a copy that may be out of date, as the primary store did not answer. */
  isDegraded(): Promise<boolean>;
  /**
   * The public name: random, safe in lists and logs. A new session that is asked for it is stored.
   */
  handle(): Promise<string>;
  /** The user who is logged in. */
  userId(): Promise<string | undefined>;
  /** The time of the login, in milliseconds since the epoch. */
  authenticatedAt(): Promise<number | undefined>;
  /**
   * Whether the user logged in within that time; `false` for a session from a copy that may be out of date.
   */
  isFresh(within: Duration): Promise<boolean>;
  /**
   * The text that a form must send back. It is bound to the token, so it is not accepted after a rotation,
   * and no other site can know it. Each call gives another text (a random mask, against BREACH). A new
   * session that is asked for it is stored.
   */
  csrfToken(): Promise<string>;
  /** Checks a CSRF token of this session. */
  verifyCsrfToken(token: string | null | undefined): Promise<boolean>;
  /**
   * Logs a user in. The token changes, so that a token planted before the login is useless. The data of an
   * anonymous session, or of a session of the same user, is kept. A login over another user's session begins
   * empty: that user's values and flash values are not inherited, nor anything that this request computed
   * from them.
   */
  login(userId: string): void;
  /** Changes the token; the old one is invalid from the commit on. */
  rotate(): void;
  /**
   * Ends the session, and drops the other changes of the request. From then on it reads as a new session, and
   * a change of it throws a `TypeError`, unless a `login()` begins another session first.
   */
  revoke(): void;
}
