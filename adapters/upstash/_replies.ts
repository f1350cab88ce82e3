/** Reads what scripts answer, through any client: as text, bytes, numbers, or numbers as text. */
import type { HoldfastError } from "../../src/errors.ts";
import type { Fields } from "../../src/store/transition.ts";
import { lost } from "./_faults.ts";
import type { UpstashScript } from "./_lua.ts";

const decoder = new TextDecoder();

/** The text of a reply; some clients are set to answer bytes. */
export function textOf(reply: unknown): string | undefined {
  if (typeof reply === "string") return reply;
  return reply instanceof Uint8Array ? decoder.decode(reply) : undefined;
}

/** The list that a script answered; Lua's encoder has one form for an empty list and an empty object. */
export function listOf<T>(reply: unknown): T[] {
  const text = textOf(reply);
  let items: unknown;
  try {
    if (text?.startsWith("~")) items = JSON.parse(text.slice(1));
  } catch {
    // it is cut off
  }
  if (typeof items !== "object" || items === null) throw strangeReply(reply);
  return Array.isArray(items) ? items : [];
}

/**
 * Names and plain values with commas between, as fast paths answer them: no client takes that for a number or
 * a list.
 */
const PLAIN = /^=(\w+,[\w:-]+(,(?=\w)|$))*$/;

/**
 * The output that a script answered. The first character says how: `~` for a list of pairs in JSON, `=` for
 * plain pairs, `!` for one text, which is the field `v`: only what reads answers that.
 */
export function outputOf(reply: unknown, kind: UpstashScript["kind"]): Fields {
  const text = textOf(reply);
  if (kind === "read" && text?.startsWith("!")) return { v: text.slice(1) };
  if (text !== undefined && PLAIN.test(text)) return fromPairs(text === "=" ? [] : text.slice(1).split(","));
  return fromPairs(listOf<string>(reply));
}

/** What HGETALL answers: a list of pairs or, where a client makes one of it, a map or an object. */
export function recordOf(reply: unknown): Fields | undefined {
  const pairs: unknown[] = Array.isArray(reply)
    ? reply
    : reply instanceof Map
    ? [...reply].flat()
    : typeof reply === "object" && reply !== null
    ? Object.entries(reply).flat()
    : [undefined];
  const texts = pairs.map(textOf);
  if (texts.includes(undefined)) throw strangeReply(reply);
  return texts.length === 0 ? undefined : fromPairs(texts as string[]);
}

/** A record without its deadline, none when it is over, and the time in milliseconds at which it was read. */
export interface LoadedRecord {
  readonly record: Fields | undefined;
  readonly now: number;
}

/** What `load` answers: the pairs of a record with its deadline `@`, and the clock. */
export function loadedOf(reply: readonly string[]): LoadedRecord {
  return timedRecordOf([reply.slice(-2), reply.slice(0, -2)]);
}

/** What TIME and HGETALL answer. */
export function timedRecordOf(reply: unknown): LoadedRecord {
  const [time, hash] = reply as [unknown, unknown];
  const [seconds, micro] = Array.isArray(time) ? time.map(Number) : [];
  const now = seconds! * 1000 + Math.floor(micro! / 1000);
  if (!Number.isSafeInteger(now)) throw strangeReply(time);
  const { "@": deadline, ...record } = recordOf(hash) ?? {};
  const over = Object.keys(record).length === 0 || deadline !== undefined && now >= Number(deadline);
  return { record: over ? undefined : record, now };
}

/** Pairs as a record. */
export function fromPairs(pairs: readonly string[]): Fields {
  const record: Record<string, string> = {};
  for (let i = 0; i < pairs.length; i += 2) record[pairs[i]!] = pairs[i + 1]!;
  return record;
}

/** The fault of a reply that no script of ours makes; ambiguous where the call writes. */
function strangeReply(reply: unknown): HoldfastError {
  const kind = reply === null ? "null" : Array.isArray(reply) ? "a list" : `a ${typeof reply}`;
  return lost(`its reply is not in the form that our scripts give it: it is ${kind}`);
}
