/**
 * The class of the objects behind `durableObjectStore()`: your Worker exports it, your `wrangler.toml` binds
 * it. This is the one entry point that runs on Cloudflare alone.
 *
 * ```ts ignore
 * import { durableObjectStore } from "@holdfast/edge/durable-objects";
 * export { HoldfastObject } from "@holdfast/edge/durable-objects/object";
 *
 * export default {
 *   async fetch(_request: Request, env: Env): Promise<Response> {
 *     const { value } = await durableObjectStore(env.HOLDFAST).increment("visits");
 *     return new Response(`visit ${value}`);
 *   },
 * };
 * ```
 *
 * ```toml
 * [[durable_objects.bindings]]
 * name = "HOLDFAST"
 * class_name = "HoldfastObject"
 *
 * [[migrations]]
 * tag = "v1"
 * new_sqlite_classes = ["HoldfastObject"]
 * ```
 *
 * @module
 */

import { DurableObject } from "cloudflare:workers";
import type { ListPage } from "../../src/store/key_value_store.ts";
import type { Transition } from "../../src/store/transition.ts";
import { type DurableStorage, ObjectRecords } from "./_records.ts";
import { OUR_TRANSITIONS } from "./_transitions.ts";
import type { Refusal, Transacted, Watched } from "./rpc.ts";

export type { DurableStorage };

/**
 * The part of a Durable Object's state that the object uses, by shape.
 *
 * @category Stores
 */
export interface DurableState {
  /** Its storage. */
  readonly storage: DurableStorage;
}

/**
 * Keeps records and runs transitions on them, on its own clock. It holds the last short record in memory,
 * too: a class that extends it leaves the table `records` alone. Transitions of your own run here once the
 * class knows them:
 *
 * ```ts ignore
 * export class MyObject extends HoldfastObject {
 *   override readonly transitions = [reserveSeat];
 * }
 * ```
 *
 * @category Stores
 */
export class HoldfastObject extends DurableObject {
  readonly #records: ObjectRecords;
  #known: ReadonlyMap<string, Transition> | undefined;

  /**
   * Transitions beside those of our contracts, which are always known; one of the same name takes the place
   * of ours.
   * @default {[]}
   */
  readonly transitions: readonly Transition[] = [];

  /** The runtime calls it. */
  constructor(state: DurableState, env: unknown) {
    super(state as never, env as never); // Deno cannot see this base class
    this.#records = new ObjectRecords(
      state.storage,
      (name) => this.#transition(name),
      () => this.now(),
    );
  }

  /** The object's clock, in milliseconds since the epoch; for tests that move it. */
  protected now(): number {
    return Date.now();
  }

  /** Looked up at the first call: a subclass has its fields only after this constructor. */
  #transition(name: string): Transition | undefined {
    this.#known ??= new Map([...OUR_TRANSITIONS, ...this.transitions].map((known) => [known.name, known]));
    return this.#known.get(name);
  }

  /**
   * Runs a transition by its name on a key's record; `input` and the answer are JSON, see {@linkcode
   * HoldfastStub}.
   */
  transact(name: string, key: string, input: string): string {
    const done: Transacted = this.#records.transact(name, key, JSON.parse(input));
    return JSON.stringify(done);
  }

  /** The encoded values of many keys; fewer than asked when they would not fit one reply. */
  getMany(keys: string[]): (string | undefined)[] {
    return this.#records.getMany(keys);
  }

  /** Stores encoded values for `ttl` milliseconds or for good; answers why not, when not. */
  setMany(entries: [string, string][], ttl: number | undefined): Refusal | undefined {
    return this.#records.setMany(entries, ttl);
  }

  /** Deletes many keys and answers how many there were. */
  deleteMany(keys: string[]): number {
    return this.#records.deleteMany(keys);
  }

  /** A page of live keys that begin with `prefix`, in order, after `cursor`. */
  list(prefix: string, cursor: string | undefined, limit: number): ListPage {
    return this.#records.list(prefix, cursor, limit);
  }

  /**
   * Waits until the record is in another state than `seen` (absent: than now), at most so long and at most 20
   * seconds. With `field`, what happens to the others while it waits does not count.
   */
  watch(key: string, seen: number | undefined, milliseconds: number, field?: string): Promise<Watched> {
    return this.#records.watch(key, seen, milliseconds, field);
  }

  /** The runtime calls it when the first record has expired. */
  alarm(): void {
    this.#records.purge();
  }
}
