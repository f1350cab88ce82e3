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
 * Refuses unknown options: a mistyped name would silently change nothing. A `signal` and a `clock` mean the
 * same in every function, so they are checked here.
 *
 * @throws {TypeError} when `options` is no object, has a name that is not in `known` or a value that is
 * `null`, or a `signal` or `clock` that is none
 */
export function checkOptionNames(
  task: string,
  options: unknown,
  known: Readonly<Record<string, true>>,
): void {
  checkNames(task, options, known);
  checkShared(task, options);
}

/** Checks what means the same in every function. */
function checkShared(task: string, options: unknown): void {
  const { signal, clock } = Object(options) as { readonly signal?: unknown; readonly clock?: unknown };
  if (signal !== undefined) checkSignal(task, signal);
  if (clock !== undefined) {
    checkMethods(task, "'clock' must be a Clock", clock, ["now", "monotonic", "sleep"]);
  }
}

/**
 * The same for options that have neither a `signal` nor a `clock`.
 *
 * @throws {TypeError} when `options` is no object, has a name that is not in `known`, or a value that is
 * `null`
 */
export function checkNames(task: string, options: unknown, known: Readonly<Record<string, true>>): void {
  if (options === undefined) return;
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new TypeError(
      `Cannot ${task} as the options must be an object: current type is ${kindOf(options)}`,
    );
  }
  // This loop visits inherited names too, which do not count, and costs a third of Object.keys().
  for (const name in options) {
    if (known[name] !== true) {
      if (!Object.hasOwn(options, name)) continue;
      throw new TypeError(
        `Cannot ${task} as it has no option '${name}': known are ${Object.keys(known).join(", ")}`,
      );
    }
    // `null` is no way to leave an option out: where one function took it for the default, another would not.
    if ((options as Record<string, unknown>)[name] === null) {
      throw new TypeError(`Cannot ${task} as '${name}' must not be null`);
    }
  }
}

/**
 * The same for options that cannot be left out.
 *
 * @throws {TypeError} also when there are none, with the names that are `needed`
 */
export function checkNeededOptions(
  task: string,
  options: unknown,
  known: Readonly<Record<string, true>>,
  needed: string,
): void {
  checkNeededNames(task, options, known, needed);
  checkShared(task, options);
}

/**
 * The same for needed options that have neither a `signal` nor a `clock`.
 *
 * @throws {TypeError} also when there are none, with the names that are `needed`
 */
export function checkNeededNames(
  task: string,
  options: unknown,
  known: Readonly<Record<string, true>>,
  needed: string,
): void {
  if (options === undefined) throw new TypeError(`Cannot ${task} as the options are missing: give ${needed}`);
  checkNames(task, options, known);
}

/**
 * Refuses what is no `AbortSignal`, above all the controller of one.
 *
 * @throws {TypeError} with what to give
 */
export function checkSignal(task: string, signal: unknown): void {
  const methods = ["throwIfAborted", "addEventListener"];
  checkMethods(task, "'signal' must be an AbortSignal, not its controller", signal, methods);
}

/**
 * Refuses what does not have the methods that are used.
 *
 * @throws {TypeError} that says what it `must` be, and what it is
 */
export function checkMethods(task: string, must: string, value: unknown, methods: readonly string[]): void {
  const object = Object(value) as Readonly<Record<string, unknown>>;
  if (methods.every((name) => typeof object[name] === "function")) return;
  throw new TypeError(`Cannot ${task} as ${must}: current type is ${kindOf(value)}`);
}

/**
 * Refuses what is no `AtomicStore`.
 *
 * @throws {TypeError} with what to give
 */
export function checkStore(task: string, store: unknown): void {
  const { transact, getMany } = Object(store) as { readonly transact?: unknown; readonly getMany?: unknown };
  if (typeof transact === "function") return;
  const must = typeof getMany === "function"
    ? "the store must be an AtomicStore, not a KeyValueStore"
    : "the store must be an AtomicStore, such as memoryStore()";
  throw new TypeError(`Cannot ${task} as ${must}: current type is ${kindOf(store)}`);
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

/**
 * Refuses what is no array.
 *
 * @throws {TypeError} that says what the array is of
 */
export function checkArray(task: string, what: string, value: unknown): void {
  if (Array.isArray(value)) return;
  throw new TypeError(`Cannot ${task} as it needs an array of ${what}: current type is ${kindOf(value)}`);
}

/** A value for a message: numbers and short words as they are, everything else by its type. */
export function shown(value: unknown): string {
  if (typeof value === "number" || typeof value === "boolean" || value == null) return String(value);
  return typeof value === "string" && value.length <= 40 ? JSON.stringify(value) : kindOf(value);
}

/** The type of a value that may be a secret (a connection's URL in place of a store). */
function kindOf(value: unknown): string {
  if (value === null) return "null";
  return Array.isArray(value) ? "array" : value instanceof Promise ? "promise" : typeof value;
}
