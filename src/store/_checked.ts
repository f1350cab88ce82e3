import { HoldfastError } from "../errors.ts";
import type { Schema } from "../schema.ts";

/** The value as the schema validates it. */
export async function checked<T>(value: unknown, schema: Schema<T>): Promise<T> {
  const result = await schema["~standard"].validate(value);
  if (result.issues === undefined) return result.value;
  throw new HoldfastError(
    "schema-mismatch",
    "Cannot return the stored value as it does not match its schema",
  );
}
