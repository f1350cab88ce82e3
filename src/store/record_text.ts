/** Records that an engine keeps as one text: the JSON of their fields. */
import { HoldfastError } from "../errors.ts";

/**
 * The record of a text.
 *
 * @throws {HoldfastError} `corrupt-record` when it is no JSON of texts by name; nothing of it is quoted
 */
export function readRecord(text: unknown): Record<string, string> {
  try {
    const record: unknown = JSON.parse(text as string);
    if (isRecord(record)) return record;
  } catch {
    // the cause would quote the record
  }
  throw new HoldfastError("corrupt-record", "Cannot read the record as it was not written by this engine");
}

function isRecord(value: unknown): value is Record<string, string> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return Object.values(value).every((field) => typeof field === "string");
}

/** The value in a record's text; a record that is no value reads as a text that the codec never writes. */
export function readValue(text: unknown): string {
  return readRecord(text).v ?? "\0";
}
