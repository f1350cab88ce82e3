import type { Schema } from "./schema.ts";

/**
 * Refuses what is no schema: without a check here, every value would fail at its first use.
 *
 * @throws {TypeError} with what to give
 */
export function checkSchema(task: string, schema: unknown): void {
  const { validate } = Object((Object(schema) as Partial<Schema>)["~standard"]) as {
    readonly validate?: unknown;
  };
  if (typeof validate === "function") return;
  throw new TypeError(
    `Cannot ${task} as 'schema' must be a Standard Schema (zod, valibot, arktype): current type is ${typeof schema}`,
  );
}
