/** Both kinds of stores, written once over an engine. */
import { checked } from "../check_schema.ts";
import { decodeValue, encodeValue } from "../codec.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { checkInteger, checkMethods, checkNeededOptions, checkOptionNames } from "../validate.ts";
import { BINDING, type StoreBinding } from "./binding.ts";
import {
  CALL_OPTIONS,
  checkCall,
  CLEAR_OPTIONS,
  GET_OPTIONS,
  INCREMENT_OPTIONS,
  LIST_OPTIONS,
  PAGE_OPTIONS,
  SET_OPTIONS,
  WATCH_OPTIONS,
} from "./_options.ts";
import { openCursor, sealCursor } from "./cursor.ts";
import { checkEntries, checkEntry, checkKeys, checkTransition } from "./_arguments.ts";
import { DIRECT, type DirectTransact } from "./direct.ts";
import { pages } from "./_pages.ts";
import { checkKey, engineKey, enginePrefix, localKey, namespacePath } from "./_keys.ts";
import { LOCAL, type LocalEngine, type LocallyKeyed } from "./local.ts";
import type {
  AtomicStore,
  Conditional,
  Counter,
  IncrementOptions,
  TransactOptions,
  WatchOptions,
} from "./atomic_store.ts";
import type { AtomicEngine, Awaitable, EngineLimits, KeyValueEngine } from "./engine.ts";
import type {
  CallOptions,
  Cleared,
  ClearOptions,
  GetOptions,
  KeyValueStore,
  ListOptions,
  ListPage,
  ListPageOptions,
  SetOptions,
} from "./key_value_store.ts";
import type { Fields, Transition } from "./transition.ts";
import {
  getValue,
  incrementValue,
  removeValue,
  replaceValue,
  setValue,
  takeValue,
  touchValue,
} from "./value_transitions.ts";

/**
 * The number of keys that `clear` reads and deletes at a time, so that no slice of it holds up the process.
 */
const CLEAR_SLICE = 1000;

/**
 * Makes a {@linkcode KeyValueStore} of an engine that cannot change a key atomically.
 *
 * @category Stores
 * @example
 * ```ts
 * import { keyValueStoreFromEngine } from "@holdfast/edge/engine";
 * const values = new Map<string, string>();
 * const store = keyValueStoreFromEngine({
 *   name: "map without deadlines",
 *   limits: { maxKeyBytes: 512, maxValueLength: 65_536 },
 *   get: (key) => values.get(key),
 *   set: (key, value) => void values.set(key, value),
 *   delete: (key) => values.delete(key),
 *   touch: (key) => values.has(key),
 *   list: () => ({ keys: [...values.keys()] }),
 * });
 * await store.set("theme", "dark");
 * if (await store.get("theme") !== "dark") throw new Error("unexpected");
 * ```
 */
export function keyValueStoreFromEngine(engine: KeyValueEngine): KeyValueStore {
  const needed = ["get", "set", "delete", "list"];
  checkMethods("make a store", "its engine must be a KeyValueEngine", engine, needed);
  return new EngineStore(engine, "");
}

/**
 * Makes an {@linkcode AtomicStore} of an engine; operations without a native form run as transitions.
 *
 * @category Stores
 * @example
 * ```ts
 * import { type Fields, storeFromEngine } from "@holdfast/edge/engine";
 * const records = new Map<string, Fields>();
 * const store = storeFromEngine({
 *   name: "map without deadlines",
 *   limits: { maxKeyBytes: 512, maxValueLength: 65_536 },
 *   transact(transition, key, input) {
 *     const { output, write } = transition.apply(records.get(key), input, Date.now());
 *     if (write?.record) records.set(key, write.record);
 *     else if (write) records.delete(key);
 *     return output;
 *   },
 *   list: () => ({ keys: [...records.keys()] }),
 * });
 * if (!(await store.setIfAbsent("leader", "a")).set) throw new Error("unexpected");
 * ```
 */
export function storeFromEngine(engine: AtomicEngine): AtomicStore {
  checkMethods("make a store", "its engine must be an AtomicEngine", engine, ["transact", "list"]);
  return new AtomicEngineStore(engine, completed(engine), "");
}

function completed(engine: AtomicEngine): KeyValueEngine {
  const full: KeyValueEngine = {
    name: engine.name,
    limits: engine.limits,
    binding: engine.binding ?? engine,
    scope: engine.scope ?? "",
    list: (options) => engine.list(options),
    get: engine.get?.bind(engine) ??
      (async (key, options) => (await engine.transact(getValue, key, {}, options)).v),
    set: engine.set?.bind(engine) ??
      (async (key, v, ttl, options) => void await engine.transact(setValue, key, timed({ v }, ttl), options)),
    delete: engine.delete?.bind(engine) ??
      (async (key, options) => (await engine.transact(takeValue, key, {}, options)).v !== undefined),
    touch: engine.touch?.bind(engine) ??
      (async (key, ttl, options) =>
        (await engine.transact(touchValue, key, timed({}, ttl), options)).done === "1"),
  };
  const { [LOCAL]: local } = engine as LocallyKeyed;
  if (local) (full as { [LOCAL]?: typeof local })[LOCAL] = local.bind(engine);
  if (engine.getMany) full.getMany = engine.getMany.bind(engine);
  if (engine.setMany) full.setMany = engine.setMany.bind(engine);
  if (engine.deleteMany) full.deleteMany = engine.deleteMany.bind(engine);
  return full;
}

/** The caller's own input with the time to live. A spread with one more member costs Node ten times as much. */
function timed(input: Record<string, string>, ttl: number | undefined): Fields {
  if (ttl !== undefined) input.ttl = String(ttl);
  return input;
}

class EngineStore implements KeyValueStore {
  readonly engine: string;
  readonly #engine: KeyValueEngine;
  protected readonly path: string;
  /** The engine for this namespace alone, where it has such a form. */
  protected readonly local: LocalEngine | undefined;
  /** The calls about one key, by the name that `key()` gives it. */
  readonly #keyed: Pick<KeyValueEngine, "get" | "set" | "delete" | "touch">;

  constructor(engine: KeyValueEngine, path: string) {
    this.engine = engine.name;
    this.#engine = engine;
    this.path = path;
    this.local = (engine as LocallyKeyed)[LOCAL]?.(path);
    this.#keyed = this.local ?? engine;
    // Here, as a member with a computed name would keep bundlers from dropping the class.
    if (!(BINDING in this)) Object.defineProperty(EngineStore.prototype, BINDING, { get: toldBinding });
  }

  /** See {@linkcode BINDING}. */
  tellBinding(): StoreBinding {
    const { name, binding = this.#engine, scope = "" } = this.#engine;
    return { object: binding, scope: JSON.stringify([name, scope, this.path]) };
  }

  /** The key as `#keyed` knows it. */
  protected key(key: string): string {
    const { maxKeyBytes } = this.#engine.limits;
    if (this.local === undefined) return engineKey(this.path, key, maxKeyBytes);
    checkKey(this.path, key, maxKeyBytes);
    return key;
  }

  protected encode(value: unknown): string {
    const text = encodeValue(value);
    const { maxValueLength } = this.#engine.limits;
    if (text.length > maxValueLength) {
      throw new HoldfastError(
        "value-too-large",
        `Cannot store the value as ${this.engine} takes at most ${maxValueLength}: current length is ${text.length}`,
      );
    }
    return text;
  }

  // Awaits only what is a promise: an engine in this process answers at once, and each await costs it a
  // third.
  async get<T = unknown>(key: string, options?: GetOptions<T>): Promise<T | undefined> {
    checkCall("get the value", options, GET_OPTIONS);
    let text = this.#keyed.get(this.key(key), options);
    if (text instanceof Promise) text = await text;
    if (text === undefined) return undefined;
    const value = decodeValue(text);
    return options?.schema ? await checked(value, options.schema) : value as T;
  }

  async set(key: string, value: unknown, options?: SetOptions): Promise<void> {
    checkCall("set the value", options, SET_OPTIONS);
    const full = this.key(key);
    const done = this.#keyed.set(full, this.encode(value), milliseconds(options?.ttl), options);
    if (done instanceof Promise) await done;
  }

  async delete(key: string, options?: CallOptions): Promise<boolean> {
    checkCall("delete the key", options, CALL_OPTIONS);
    return await this.#keyed.delete(this.key(key), options);
  }

  async exists(key: string, options?: CallOptions): Promise<boolean> {
    checkCall("look for the key", options, CALL_OPTIONS);
    return (await this.#keyed.get(this.key(key), options)) !== undefined;
  }

  async touch(key: string, ttl: Duration, options?: CallOptions): Promise<boolean> {
    checkCall("touch the key", options, CALL_OPTIONS);
    return await this.#keyed.touch(this.key(key), toMilliseconds(ttl, "ttl"), options);
  }

  async getMany<T = unknown>(keys: readonly string[], options?: GetOptions<T>): Promise<(T | undefined)[]> {
    checkCall("get the values", options, GET_OPTIONS);
    checkKeys("get the values", keys);
    const full = keys.map((key) => this.key(key));
    if (full.length === 0) return [];
    const texts = this.#engine.getMany
      ? await this.#engine.getMany(full, options)
      : await Promise.all(full.map((key) => this.#keyed.get(key, options)));
    return await Promise.all(texts.map((text) => {
      if (text === undefined) return undefined;
      const value = decodeValue(text);
      return options?.schema ? checked(value, options.schema) : value as T;
    }));
  }

  async setMany(entries: Iterable<readonly [string, unknown]>, options?: SetOptions): Promise<void> {
    checkCall("set the values", options, SET_OPTIONS);
    const ttl = milliseconds(options?.ttl);
    checkEntries(entries);
    const full = Array.from(
      entries,
      (entry) => [this.key(checkEntry(entry)[0]), this.encode(entry[1])] as const,
    );
    if (full.length === 0) return;
    if (this.#engine.setMany) await this.#engine.setMany(full, ttl, options);
    else await Promise.all(full.map(([key, text]) => this.#keyed.set(key, text, ttl, options)));
  }

  async deleteMany(keys: readonly string[], options?: CallOptions): Promise<number> {
    checkCall("delete the keys", options, CALL_OPTIONS);
    checkKeys("delete the keys", keys);
    const full = new Set(keys.map((key) => this.key(key))); // a key is counted once, however often it is named
    return await this.#deleteMany([...full], options, this.#keyed);
  }

  async #deleteMany(
    keys: readonly string[],
    options: CallOptions | undefined,
    keyed: Pick<KeyValueEngine, "delete"> = this.#engine,
  ): Promise<number> {
    if (keys.length === 0) return 0;
    if (this.#engine.deleteMany) return await this.#engine.deleteMany(keys, options);
    const deleted = await Promise.all(keys.map((key) => keyed.delete(key, options)));
    return deleted.filter(Boolean).length;
  }

  list(options?: ListOptions): AsyncIterable<string> {
    checkOptionNames("list", options, LIST_OPTIONS);
    return pages(this, options);
  }

  async listPage(options: ListPageOptions = {}): Promise<ListPage> {
    checkCall("list", options, PAGE_OPTIONS);
    const { prefix = "", limit = 1000, signal } = options;
    checkInteger("list", "limit", limit);
    if (typeof prefix !== "string") {
      throw new TypeError(`Cannot list as 'prefix' must be a string: current type is ${typeof prefix}`);
    }
    const { name, scope = "" } = this.#engine;
    const list = JSON.stringify([name, scope, this.path, prefix]);
    const cursor = openCursor(options.cursor, list);
    const page = await this.#engine.list({ prefix: enginePrefix(this.path, prefix), cursor, limit, signal });
    const keys = page.keys.map((key) => localKey(this.path, key)).filter((key) => key !== undefined);
    return page.cursor === undefined ? { keys } : { keys, cursor: sealCursor(page.cursor, list) };
  }

  async clear(options: ClearOptions = {}): Promise<Cleared> {
    checkCall("clear", options, CLEAR_OPTIONS);
    const { limit = Infinity, signal } = options;
    if (limit !== Infinity) checkInteger("clear", "limit", limit);
    let deleted = 0;
    let cursor: string | undefined;
    do {
      signal?.throwIfAborted();
      if (deleted >= limit) return { deleted, done: false };
      const size = Math.min(CLEAR_SLICE, limit - deleted);
      const answer = this.#engine.list({ prefix: this.path, cursor, limit: size, signal });
      // An engine that answers at once never gives timers and sockets their turn.
      if (!(answer instanceof Promise)) await new Promise((resolve) => setTimeout(resolve, 0));
      const page = await answer;
      deleted += await this.#deleteMany(page.keys, { signal });
      cursor = page.cursor;
    } while (cursor !== undefined);
    return { deleted, done: true };
  }

  namespace(name: string): KeyValueStore {
    return new EngineStore(this.#engine, namespacePath(this.path, name));
  }
}

class AtomicEngineStore extends EngineStore implements AtomicStore {
  readonly #atomic: AtomicEngine;
  readonly #keyed: Pick<AtomicEngine, "transact" | "watch">;
  readonly #full: KeyValueEngine;
  readonly limits: EngineLimits;
  readonly watch?: (key: string, options: WatchOptions) => Promise<boolean>;

  constructor(engine: AtomicEngine, full: KeyValueEngine, path: string) {
    super(full, path);
    this.#atomic = engine;
    this.#keyed = this.local ?? engine;
    this.#full = full;
    this.limits = engine.limits;
    // Here, as a statement at the top of the module would keep bundlers from dropping the class.
    (AtomicEngineStore.prototype.transact as { [DIRECT]?: DirectTransact })[DIRECT] ??= transactDirectly;
    if (engine.watch) {
      this.watch = async (key, options) => {
        checkNeededOptions("watch the key", options, WATCH_OPTIONS, "a 'timeout'");
        const { timeout, since, field, signal } = options;
        const length = toMilliseconds(timeout, "timeout");
        signal?.throwIfAborted();
        return await this.#keyed.watch!(this.key(key), { timeout: length, since, field, signal });
      };
    }
  }

  async transact(
    transition: Transition,
    key: string,
    input: Fields,
    options?: TransactOptions,
  ): Promise<Fields> {
    options?.signal?.throwIfAborted();
    checkTransition(transition, input);
    const output = this.#keyed.transact(transition, this.key(key), input, options);
    return output instanceof Promise ? await output : output;
  }

  /** See {@linkcode DIRECT}: without the checks of arguments, which are our own there. */
  transactDirectly(
    transition: Transition,
    key: string,
    input: Fields,
    options: TransactOptions | undefined,
  ): Awaitable<Fields> {
    options?.signal?.throwIfAborted();
    return this.#keyed.transact(transition, this.key(key), input, options);
  }

  async increment(key: string, options: IncrementOptions = {}): Promise<Counter> {
    checkCall("increment", options, INCREMENT_OPTIONS);
    const { by = 1, ttl } = options;
    if (!Number.isSafeInteger(by)) {
      throw new RangeError(`Cannot increment as 'by' must be a safe integer: current value is ${by}`);
    }
    const input = timed({ by: String(by) }, milliseconds(ttl));
    const output = await this.transact(incrementValue, key, input, { signal: options.signal });
    if (output.error !== undefined) {
      throw new HoldfastError(
        "not-an-integer",
        "Cannot increment as the value and the sum must be safe integers",
      );
    }
    const value = Number(output.n);
    return output.e === undefined ? { value } : { value, expiresAt: Number(output.e) };
  }

  setIfAbsent<T = unknown>(key: string, value: unknown, options?: SetOptions): Promise<Conditional<T>> {
    return this.compareAndSet(key, undefined, value, options);
  }

  async compareAndSet<T = unknown>(
    key: string,
    expected: unknown,
    value: unknown,
    options?: SetOptions,
  ): Promise<Conditional<T>> {
    checkCall("compare and set", options, SET_OPTIONS);
    const input = timed({ v: this.encode(value) }, milliseconds(options?.ttl));
    const output = await this.transact(
      replaceValue,
      key,
      expected === undefined ? input : { ...input, expected: encodeValue(expected) },
      { signal: options?.signal },
    );
    if (output.done === "1") return { set: true };
    return { set: false, current: output.v === undefined ? undefined : decodeValue(output.v) as T };
  }

  async compareAndDelete(key: string, expected: unknown, options?: CallOptions): Promise<boolean> {
    checkCall("compare and delete", options, CALL_OPTIONS);
    const output = await this.transact(removeValue, key, { expected: encodeValue(expected) }, options);
    return output.done === "1";
  }

  async getAndDelete<T = unknown>(key: string, options?: CallOptions): Promise<T | undefined> {
    checkCall("get and delete", options, CALL_OPTIONS);
    const output = await this.transact(takeValue, key, {}, options);
    return output.v === undefined ? undefined : decodeValue(output.v) as T;
  }

  override namespace(name: string): AtomicStore {
    return new AtomicEngineStore(this.#atomic, this.#full, namespacePath(this.path, name));
  }
}

function toldBinding(this: EngineStore): StoreBinding {
  return this.tellBinding();
}

const transactDirectly: DirectTransact = function (this: AtomicStore, transition, key, input, options) {
  return (this as AtomicEngineStore).transactDirectly(transition, key, input, options);
};

function milliseconds(ttl: Duration | undefined): number | undefined {
  return ttl === undefined ? undefined : toMilliseconds(ttl, "ttl");
}
