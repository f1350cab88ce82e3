/** What this version of the application makes of a stored record. */
import { decodeValue, encodeValue } from "../codec.ts";
import type { Schema } from "../schema.ts";
import type { Fields } from "../store/transition.ts";
import { dataOf } from "./_patch.ts";
import { NO_SESSION, type SessionView } from "./_request_session.ts";
import type { SessionEvent } from "./session_event.ts";
import type { SessionRecord } from "./session_record.ts";
import type { SessionsOptions } from "./sessions.ts";

/** Migrates and validates; what cannot be read, migrated or validated is no session, with an event. */
export function interpreter(
  { schema, migrate }: Pick<SessionsOptions<Schema>, "schema" | "migrate">,
  version: number,
  emit: (event: SessionEvent) => void,
): (record: SessionRecord) => Promise<SessionView> {
  return async (record) => {
    const { handle, schemaVersion } = record;
    const old = schemaVersion !== version;
    try {
      let { values } = record;
      if (old && migrate) {
        const kept = Object.entries(values).filter(([field]) => !field.startsWith("d:"));
        values = { ...Object.fromEntries(kept), ...encoded(migrate(dataOf(values), schemaVersion)) };
      }
      for (const field in values) decodeValue(values[field]!);
      if (schema === undefined || !(await schema["~standard"].validate(dataOf(values))).issues) {
        if (old && migrate) emit({ type: "migrated", handle });
        return { record, values, migrated: old };
      }
    } catch {
      // reported below; the cause would quote what is stored
    }
    emit({ type: "schema-mismatch", handle });
    return NO_SESSION;
  };
}

function encoded(data: Record<string, unknown>): Fields {
  const fields = Object.entries(data).filter(([, value]) => value !== undefined);
  return Object.fromEntries(fields.map(([name, value]) => [`d:${name}`, encodeValue(value)]));
}

/** A listener that throws must not decide what becomes of a session. */
export function quietly(
  listener: ((event: SessionEvent) => void) | undefined,
): (event: SessionEvent) => void {
  return (event) => {
    try {
      listener?.(event);
    } catch {
      // its own affair
    }
  };
}
