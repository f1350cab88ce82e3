/** The names and signatures of @std/assert over node:assert/strict: std itself lives on JSR, which not every machine reaches. */
import nodeAssert from "node:assert/strict";

export function assert(expr: unknown, msg = ""): asserts expr {
  nodeAssert.ok(expr, msg || "Expected the expression to be truthy");
}

export function assertEquals<T>(actual: T, expected: T, msg?: string): void {
  if (msg === undefined) nodeAssert.deepStrictEqual(actual, expected); // shows the difference
  else nodeAssert.deepStrictEqual(actual, expected, msg);
}

export function assertStrictEquals<T>(actual: unknown, expected: T, msg?: string): asserts actual is T {
  if (msg === undefined) nodeAssert.strictEqual(actual, expected); // shows the difference
  else nodeAssert.strictEqual(actual, expected, msg);
}

export function assertStringIncludes(actual: string, expected: string, msg?: string): void {
  nodeAssert.ok(
    actual.includes(expected),
    msg ?? `Expected ${JSON.stringify(actual)} to include ${expected}`,
  );
}

export function assertMatch(actual: string, expected: RegExp, msg?: string): void {
  if (msg === undefined) nodeAssert.match(actual, expected); // shows the difference
  else nodeAssert.match(actual, expected, msg);
}

export function assertObjectMatch<T extends object>(actual: T, expected: Partial<T>): void {
  const names = Object.keys(expected) as (keyof T)[];
  nodeAssert.deepStrictEqual(Object.fromEntries(names.map((name) => [name, actual[name]])), expected);
}

// deno-lint-ignore no-explicit-any
type ErrorClass<E extends Error> = abstract new (...args: any[]) => E;

export function assertThrows<E extends Error = Error>(fn: () => unknown, errorClass?: ErrorClass<E>): E {
  try {
    fn();
  } catch (error) {
    if (errorClass) nodeAssert.ok(error instanceof errorClass, `Expected ${errorClass.name}, got ${error}`);
    return error as E;
  }
  throw new nodeAssert.AssertionError({ message: "Expected the function to throw" });
}

export async function assertRejects<E extends Error = Error>(
  fn: () => PromiseLike<unknown>,
  errorClass?: ErrorClass<E>,
): Promise<E> {
  try {
    await fn();
  } catch (error) {
    if (errorClass) nodeAssert.ok(error instanceof errorClass, `Expected ${errorClass.name}, got ${error}`);
    return error as E;
  }
  throw new nodeAssert.AssertionError({ message: "Expected the promise to reject" });
}
