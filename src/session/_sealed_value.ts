/** The content of a sealed session's cookie. */
import type { Fields } from "../store/transition.ts";
import { sessionFields, type SessionRecord, sessionRecord } from "./session_record.ts";

/**
 * The epochs that a session has survived: the newest ones that were known when it was sealed. A later epoch
 * ends it. As epochs are compared with epochs alone, no clock but the store's decides what a revocation ends.
 */
export interface Epochs {
  /** That of all users. */
  readonly all: number;
  /** That of the session's user. */
  readonly user: number;
}

/** The content of a cookie. */
export interface Sealed {
  /** The session. */
  readonly record: SessionRecord;
  /** The secret of its CSRF tokens; it changes with each rotation. */
  readonly secret: string;
  /** The handle of the first session of the family: rotations keep it, a login begins another. */
  readonly family: string;
  /** The epochs it has survived. */
  readonly epochs: Epochs;
}

/**
 * The content as text: the fields of the record (`session_transitions.ts` lists them) and `secret`, `family`,
 * `allEpoch` and `userEpoch`. Cookies are small: what is at its default is left out.
 */
export function sealedText({ record, secret, family, epochs }: Sealed): string {
  const fields: Record<string, string> = { ...sessionFields(record), secret };
  if (family !== record.handle) fields.family = family;
  if (epochs.all > 0) fields.allEpoch = String(epochs.all);
  if (epochs.user > 0) fields.userEpoch = String(epochs.user);
  return JSON.stringify(fields);
}

/** Reads such a text. */
export function sealedValue(text: string): Sealed {
  const fields = JSON.parse(text) as Fields;
  const record = sessionRecord(fields);
  return {
    record,
    secret: fields.secret!,
    family: fields.family ?? record.handle,
    epochs: { all: Number(fields.allEpoch ?? 0), user: Number(fields.userEpoch ?? 0) },
  };
}
