/**
 * Any schema that speaks Standard Schema (zod, valibot, arktype), by its shape alone.
 *
 * @see https://standardschema.dev
 */
export interface Schema<Output = unknown> {
  /** The Standard Schema entry point. */
  readonly "~standard": {
    /** Checks a value and says what it is, or what is wrong with it. */
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    /** Carries the inferred types; never present at run time. */
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined;
  };
}

/** What a schema answers: the value, or the issues it found. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string }[] };

/** The type a schema produces. */
export type SchemaOutput<S> = S extends Schema<infer Output> ? Output : never;

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
