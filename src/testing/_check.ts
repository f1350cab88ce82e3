import { LawError } from "./law.ts";

/** Fails with the sentence unless the condition holds. */
export function check(condition: unknown, sentence: string): asserts condition {
  if (!condition) throw new LawError(sentence);
}

/** Fails unless both have the same JSON but for the order of keys, with `undefined` kept apart from `null` and bytes shown. */
export function equal(actual: unknown, expected: unknown, sentence: string): void {
  const [a, b] = [show(actual), show(expected)];
  if (a !== b) throw new LawError(`${sentence}: expected ${b}, got ${a}`);
}

function show(value: unknown): string {
  return JSON.stringify(value, (_key, part) => {
    if (part === undefined) return "(undefined)";
    if (part instanceof Uint8Array) return `(bytes ${[...part]})`;
    if (typeof part === "number" && !Number.isFinite(part)) return `(${part})`;
    if (typeof part !== "object" || part === null || Array.isArray(part)) return part;
    return Object.fromEntries(Object.entries(part).sort(([a], [b]) => a < b ? -1 : 1));
  }) ?? "(undefined)";
}

/** The error a call rejects with; fails when it does not. */
export async function rejection(call: () => Promise<unknown>, sentence: string): Promise<unknown> {
  let value: unknown;
  try {
    value = await call();
  } catch (error) {
    return error;
  }
  throw new LawError(`${sentence}: it answered ${show(value)} instead`);
}
