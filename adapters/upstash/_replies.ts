/** Reads what scripts answer, through any client: as text, bytes, numbers, or numbers as text. */
import type { HoldfastError } from "../../src/errors.ts";
import type { Fields } from "../../src/store/transition.ts";
import { lost } from "./_faults.ts";

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
 * The whole numbers that a script answered: one, several, or those that it remembered (`=` and decimal
 * digits). Some clients are set to answer integers as text or bigint.
 */
export function figuresOf(reply: unknown): number[] | undefined {
  const text = textOf(reply);
  const parts = text?.startsWith("=") ? text.slice(1).split(",") : Array.isArray(reply) ? reply : [reply];
  const figures: number[] = [];
  for (const part of parts) {
    const digits = typeof part === "number" || typeof part === "bigint" ? String(part) : textOf(part);
    if (digits === undefined || !/^-?\d{1,16}$/.test(digits) || !Number.isSafeInteger(Number(digits))) {
      return undefined;
    }
    figures.push(Number(digits));
  }
  return figures;
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
