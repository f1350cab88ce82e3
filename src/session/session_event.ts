/**
 * An event of a session, without tokens and values.
 *
 * @category Sessions
 */
export interface SessionEvent {
  /**
   * - `created`, `rotated`, `logged-in`, `revoked`: as asked for.
   * - `evicted`: a login ended the oldest session (`maxSessionsPerUser`).
   * - `refused`: a login was refused, by the limit or as the user was revoked meanwhile.
   * - `conflict`: changes were dropped, as the session had ended meanwhile.
   * - `expired`: a request came with a session that timed out a moment ago.
   * - `unknown-id`: a well-formed token without a session: planted, guessed, or ended long ago.
   * - `duplicate-cookie`: more than one well-formed token in one request. If exactly one of them has a live
   *   session, that session is used; otherwise none.
   * - `migrated`: the data was brought to the schema's version.
   * - `newer-version`: a later version of the application wrote the session; the request fails as in an
   *   outage.
   * - `schema-mismatch`: the stored data no longer matches, or could not be migrated; a new session begins.
   * - `touch-failed`: the store did not take a touch; the request was served all the same.
   * - `csrf-rejected`: a request of an unsafe method came without the session's CSRF token.
   */
  readonly type:
    | "created"
    | "rotated"
    | "logged-in"
    | "revoked"
    | "evicted"
    | "refused"
    | "conflict"
    | "expired"
    | "unknown-id"
    | "duplicate-cookie"
    | "migrated"
    | "newer-version"
    | "schema-mismatch"
    | "touch-failed"
    | "csrf-rejected";
  /** The session's public handle, where it has one. */
  readonly handle?: string;
  /** The user who is logged in, where one is. */
  readonly userId?: string;
}
