/** Migrates and validates a stored record for this version of the application. */
import { decodeValue, encodeValue } from "../codec.ts";
import { HoldfastError } from "../errors.ts";
import { dropRejection } from "../safely.ts";
import type { Schema } from "../schema.ts";
import type { Awaitable } from "../store/engine.ts";
import type { Fields } from "../store/transition.ts";
import { dataOf } from "./_patch.ts";
import { NO_SESSION, type SessionView } from "./_session_notes.ts";
import type { SessionEvent } from "./session_event.ts";
import type { SessionRecord } from "./session_record.ts";
import type { SessionsOptions } from "./sessions.ts";

/**
 * Migrates and validates a record. What cannot be read, migrated or validated is no session, with an event.
 *
 * Versions only go up. Values are stamped with the application's version once they are known to have it: they
 * were migrated, or the schema accepted them. A record of a later version is refused, since this version
 * cannot know what its values mean: read as it is, `cents: 500` might pass for 500 dollars, and written back
 * it would be migrated twice.
 */
export function interpreter(
  { schema, migrate }: Pick<SessionsOptions<Schema>, "schema" | "migrate">,
  version: number,
  emit: (event: SessionEvent) => void,
): (record: SessionRecord) => Awaitable<SessionView> {
  const refused = (handle: string): SessionView => {
    emit({ type: "schema-mismatch", handle });
    return NO_SESSION;
  };
  return (record) => {
    const { handle, schemaVersion } = record;
    if (schemaVersion > version) {
      emit({ type: "newer-version", handle });
      throw newerVersion(schemaVersion, version);
    }
    const old = schemaVersion < version;
    const read = (values: Fields): SessionView => {
      if (old && migrate) emit({ type: "migrated", handle });
      const raised = old && (migrate !== undefined || schema !== undefined);
      return { record, values, raised, schemaVersion: raised ? version : schemaVersion };
    };
    try {
      let { values } = record;
      if (old && migrate) {
        const kept = Object.entries(values).filter(([field]) => !field.startsWith("d:"));
        const data = migrate(dataOf(values), schemaVersion);
        if (!isPlain(data)) throw new MigrationFault();
        values = { ...Object.fromEntries(kept), ...encoded(data) };
      }
      for (const field in values) decodeValue(values[field]!);
      if (schema === undefined) return read(values);
      return accepts(schema, values).then((accepted) => accepted ? read(values) : refused(handle));
    } catch (error) {
      if (error instanceof MigrationFault) throw error;
      return refused(handle); // the cause would quote what is stored
    }
  };
}

/** The fault of a `migrate` that answers no object: taken as one, it would empty every old session. */
class MigrationFault extends TypeError {
  constructor() {
    super("Cannot migrate the session as 'migrate' must return an object of values: async functions do not");
  }
}

function isPlain(data: unknown): boolean {
  dropRejection(data);
  return Object.prototype.toString.call(data) === "[object Object]";
}

/** Whether the schema takes the values; one that throws does not. */
async function accepts(schema: Schema, values: Fields): Promise<boolean> {
  try {
    return !(await schema["~standard"].validate(dataOf(values))).issues;
  } catch {
    return false;
  }
}

/**
 * The fault of an application that meets a session of a later version of itself, as in the middle of a
 * deploy.
 */
export function newerVersion(found: number, version: number): HoldfastError {
  return new HoldfastError(
    "schema-mismatch",
    `Cannot read the session as version ${found} of the application wrote it: current version is ${version}`,
    { retryable: true },
  );
}

function encoded(data: Record<string, unknown>): Fields {
  const fields = Object.entries(data).filter(([, value]) => value !== undefined);
  return Object.fromEntries(fields.map(([name, value]) => [`d:${name}`, encodeValue(value)]));
}
