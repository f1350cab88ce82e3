/**
 * Any schema that speaks Standard Schema (zod, valibot, arktype), by its shape alone.
 *
 * @see https://standardschema.dev
 * @category Shared
 */
export interface Schema<Output = unknown> {
  /** The Standard Schema entry point. */
  readonly "~standard": {
    /** Checks a value and returns its typed form, or the issues. */
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>;
    /** Carries the inferred types; never present at run time. */
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined;
  };
}

/**
 * The result of a schema: the value, or the issues.
 *
 * @category Shared
 */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly { readonly message: string }[] };

/**
 * The type a schema produces.
 *
 * @category Shared
 */
export type SchemaOutput<S> = S extends Schema<infer Output> ? Output : never;
