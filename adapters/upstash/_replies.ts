/** Reads what scripts answer, through any client: as text, bytes, numbers, or numbers as text. */
import type { HoldfastError } from "../../src/errors.ts";
import type { Fields } from "../../src/store/transition.ts";
import { lost } from "./_faults.ts";
import type { FastPath } from "./_lua.ts";

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

/** The whole numbers that a fast path answered: `=`, and decimal digits with commas between, which no client parses. */
export function figuresOf(reply: unknown): number[] | undefined {
  const text = textOf(reply);
  if (text === undefined || !/^=-?\d{1,16}(,-?\d{1,16})*$/.test(text)) return undefined;
  const figures = text.slice(1).split(",").map(Number);
  return figures.every(Number.isSafeInteger) ? figures : undefined;
}

/** The text behind a mark that keeps clients from guessing its type. */
export function rawOf(reply: unknown): string | undefined {
  const text = textOf(reply);
  return text?.startsWith("!") ? text.slice(1) : undefined;
}

/** The output that a script answered, by its fast path or by the compiled transition. */
export function outputOf(fast: FastPath | undefined, reply: unknown): Fields {
  if (fast === undefined || textOf(reply)?.startsWith("~")) return fromPairs(listOf<string>(reply));
  const output = fast.output(reply);
  if (output === undefined) throw strangeReply(reply);
  return output;
}

/** Pairs as a record. */
export function fromPairs(pairs: readonly string[]): Fields {
  const record: Record<string, string> = {};
  for (let i = 0; i < pairs.length; i += 2) record[pairs[i]!] = pairs[i + 1]!;
  return record;
}

/** The fault of a reply that no script of ours makes; ambiguous where the call writes. */
export function strangeReply(reply: unknown): HoldfastError {
  const kind = reply === null ? "null" : Array.isArray(reply) ? "a list" : `a ${typeof reply}`;
  return lost(`its reply is not in the form that our scripts give it: it is ${kind}`);
}
