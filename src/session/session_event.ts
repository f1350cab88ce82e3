/** Something that happened to a session; without tokens and values. */
export interface SessionEvent {
  /**
   * - `created`, `rotated`, `logged-in`, `revoked`: as asked for.
   * - `evicted`: a login had to make room (`maxSessionsPerUser`).
   * - `refused`: a login was refused, for want of room or because the user was revoked meanwhile.
   * - `conflict`: changes were dropped, as the session had ended meanwhile.
   * - `expired`: a request came with a session that timed out a moment ago.
   * - `unknown-id`: a well-formed token nobody knows: planted, guessed, or long ended.
   * - `duplicate-cookie`: more than one well-formed token in one request; the first counts.
   * - `migrated`: the data was brought to the schema's version.
   * - `schema-mismatch`: the stored data no longer matches, or could not be migrated; a fresh session begins.
   * - `touch-failed`: the store did not take a touch; the request was served all the same.
   * - `csrf-rejected`: a request that changes something came without the session's CSRF token.
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
    | "schema-mismatch"
    | "touch-failed"
    | "csrf-rejected";
  /** The session's public handle, where it has one. */
  readonly handle?: string;
  /** Who is logged in, where somebody is. */
  readonly userId?: string;
}
