/**
 * Checks of options and arguments, for callers without types: each throws before any I/O and names what to
 * change.
 */

/**
 * The names of every option of `Options`, unions included: `{ ttl: true, wait: true } satisfies
 * OptionNames<X>`.
 */
export type OptionNames<Options> = { readonly [Name in KeysOfUnion<Options>]-?: true };

type KeysOfUnion<T> = T extends unknown ? keyof T : never;

/**
 * Refuses unknown options: a mistyped name would silently change nothing.
 *
 * @throws {TypeError} when `options` is no object or has a name that is not in `known`
 */
export function checkOptionNames(
  task: string,
  options: unknown,
  known: Readonly<Record<string, true>>,
): void {
  if (options === undefined) return;
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`Cannot ${task} as the options must be an object: current type is ${typeof options}`);
  }
  for (const name of Object.keys(options)) {
    if (!Object.hasOwn(known, name)) {
      throw new TypeError(
        `Cannot ${task} as it has no option '${name}': known are ${Object.keys(known).join(", ")}`,
      );
    }
  }
}

/**
 * Refuses a value that is not one of `allowed`.
 *
 * @throws {TypeError} with the allowed values
 */
export function checkOneOf<T>(task: string, name: string, value: unknown, allowed: readonly T[]): T {
  if ((allowed as readonly unknown[]).includes(value)) return value as T;
  const list = allowed.map((item) => JSON.stringify(item)).join(", ");
  throw new TypeError(`Cannot ${task} as '${name}' must be one of ${list}: current value is ${shown(value)}`);
}

/**
 * Refuses a number that is not an integer from `least` to `most`.
 *
 * @throws {RangeError} with the bounds
 */
export function checkInteger(
  task: string,
  name: string,
  value: unknown,
  least = 1,
  most: number = Number.MAX_SAFE_INTEGER,
): number {
  if (Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most) {
    return value as number;
  }
  throw new RangeError(
    `Cannot ${task} as '${name}' must be an integer from ${least} to ${most}: current value is ${
      shown(value)
    }`,
  );
}

/**
 * Refuses what is not a function.
 *
 * @throws {TypeError} when a value is given and cannot be called
 */
export function checkFunction(task: string, name: string, value: unknown): void {
  if (value === undefined || typeof value === "function") return;
  throw new TypeError(`Cannot ${task} as '${name}' must be a function: current type is ${typeof value}`);
}

/** A value for a message: numbers and short words as they are, everything else by its type. */
function shown(value: unknown): string {
  if (typeof value === "number" || typeof value === "boolean" || value == null) return String(value);
  return typeof value === "string" && value.length <= 40 ? JSON.stringify(value) : typeof value;
}
