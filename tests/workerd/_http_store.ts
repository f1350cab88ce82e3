/** A store whose engine is the test Worker, reached over HTTP: what a client in another process sees. */
import { type AtomicStore, type Clock, HoldfastError, type KeyValueStore } from "@holdfast/edge";
import {
  type AtomicEngine,
  type KeyValueEngine,
  keyValueStoreFromEngine,
  storeFromEngine,
} from "@holdfast/edge/engine";
import { startWorkerd, type Workerd } from "../support/workerd.ts";

/** Starts the test Worker that runs laws inside and serves its stores to clients with the token. */
export function startLawWorker(token: string): Promise<Workerd> {
  return startWorkerd({
    entry: new URL("laws_worker.ts", import.meta.url),
    kv: ["CACHE"],
    durableObjects: { HOLDFAST: "LawObject", TIMED: "TimedObject" },
    vars: { TOKEN: token },
  });
}

/** Sends an operation on the engine with that name. */
export type Send = (op: string, args: readonly unknown[], signal?: AbortSignal) => Promise<unknown>;

/**
 * Calls the Worker's `/store`, a few requests at a time: a burst of a thousand would run out of sockets.
 * Engines in virtual time follow `clock`.
 */
export function sender(worker: Workerd, token: string, engine: string, clock?: Clock): Send {
  let turns: Promise<unknown>[] = Array.from({ length: 32 }, () => Promise.resolve());
  return (op, args, signal) => {
    const [turn, ...others] = turns;
    const work = turn!.then(async () => {
      const response = await worker.fetch("/store", {
        method: "POST",
        headers: { authorization: `Bearer ${token}` },
        body: JSON.stringify({ engine, op, args, now: clock?.now() }),
        signal: signal ?? null,
      });
      const { value, error } = await response.json();
      if (error?.code) throw new HoldfastError(error.code, error.message);
      if (error) throw new Error(error.message);
      return value;
    });
    turns = [...others, work.catch(() => {})];
    return work;
  };
}

/** For the KeyValueStore law. */
export function httpKeyValueStore(send: Send): KeyValueStore {
  return keyValueStoreFromEngine(engine(send, 200));
}

/**
 * For all laws. The object keeps a record under the key twice as long: the path it travels under is part of
 * it.
 */
export function httpAtomicStore(send: Send): AtomicStore {
  const { name, limits, list } = engine(send, 900);
  const atomic: AtomicEngine = {
    name,
    limits,
    list,
    transact: async (transition, key, input, options) =>
      await send("transact", [transition.name, key, input], options?.signal) as Record<string, string>,
  };
  return storeFromEngine(atomic);
}

function engine(send: Send, maxKeyBytes: number): KeyValueEngine {
  return {
    name: "http",
    limits: { maxKeyBytes, maxValueLength: 1_000_000 },
    get: async (key, options) =>
      (await send("get", [key], options?.signal) ?? undefined) as string | undefined,
    set: async (key, value, ttl, options) => void await send("set", [key, value, ttl], options?.signal),
    delete: async (key, options) => await send("delete", [key], options?.signal) as boolean,
    touch: async (key, ttl, options) => await send("touch", [key, ttl], options?.signal) as boolean,
    list: async ({ prefix, cursor, limit, signal }) =>
      await send("list", [{ prefix, cursor, limit }], signal) as { keys: string[]; cursor?: string },
  };
}
