import { LawError, type StoreSubject } from "./law.ts";

/** Fails with the sentence unless the condition holds. */
export function check(condition: unknown, sentence: string): asserts condition {
  if (!condition) throw new LawError(sentence);
}

/**
 * Fails unless both have the same JSON but for the order of keys, with `undefined` kept apart from `null` and
 * bytes shown.
 */
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

/**
 * Lets time pass in small steps until the condition holds; on engines that cannot notify, waiters ask again
 * meanwhile.
 */
export async function until(
  so: () => unknown,
  wait: StoreSubject<unknown>["wait"],
  most: number,
  sentence: string,
): Promise<void> {
  for (let passed = 0; !await so(); passed += 10) {
    check(passed < most, sentence);
    await wait(10);
  }
}

/** The result of the promise, while time passes. */
export async function eventually<T>(
  promise: Promise<T>,
  wait: StoreSubject<unknown>["wait"],
  most = 3000,
): Promise<T> {
  let settled = false;
  const done = () => void (settled = true);
  promise.then(done, done);
  await until(() => settled, wait, most, `something happens within ${most} ms`);
  return await promise;
}

/**
 * Takes steps that hold only before `ttl` milliseconds have passed. Where time is real, a busy machine may
 * need longer for them: a failure then says nothing, and they are taken again with twice the time.
 *
 * @returns the time with which they held
 */
export async function within(
  ttl: number,
  clock: StoreSubject<unknown>["clock"],
  steps: (ttl: number) => Promise<void>,
): Promise<number> {
  const now = () => clock?.now() ?? Date.now();
  for (let given = ttl;; given *= 2) {
    const began = now();
    try {
      await steps(given);
      return given;
    } catch (error) {
      if (now() - began < given || given > 30_000) throw error;
    }
  }
}
