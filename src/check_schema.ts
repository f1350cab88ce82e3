/** Checks of a schema, and by it. */
import { HoldfastError } from "./errors.ts";
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

/**
 * The value as the schema validates it, when it is read and before it is stored.
 *
 * @throws {HoldfastError} `schema-mismatch`
 */
export async function checked<T>(value: unknown, schema: Schema<T>): Promise<T> {
  const result = await schema["~standard"].validate(value);
  if (result.issues === undefined) return result.value;
  throw new HoldfastError("schema-mismatch", "Cannot use the value as it does not match its schema");
}
