/**
 * The Worker the laws run in: `/law` runs one inside, `/store` lets them reach the same stores from outside.
 * For tests alone: with its token, every client reads and writes everything.
 */
import type { AtomicStore, KeyValueStore } from "@holdfast/edge";
import { durableObjectStore, type HoldfastNamespace } from "@holdfast/edge/durable-objects";
import { HoldfastObject } from "@holdfast/edge/durable-objects/object";
import { type KvNamespace, workersKvStore } from "@holdfast/edge/workers-kv";
import { lawTransitions, prefixLaw } from "@holdfast/edge/testing";
import { OUR_TRANSITIONS } from "../../adapters/durable_objects/_transitions.ts";
import { contracts } from "../support/contracts.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { inVirtualTime } from "../support/virtual_time.ts";

interface Env {
  readonly HOLDFAST: HoldfastNamespace;
  readonly TIMED: HoldfastNamespace;
  readonly CACHE: KvNamespace;
  readonly TOKEN: string;
}

/** Inside, time is the test's own: whatever else this machine does, a lease of 60 ms is one. */
const clock = new ManualClock();

/** Transitions that a user adds are known like our own. */
export class LawObject extends HoldfastObject {
  override readonly transitions = lawTransitions;
}

/** The same on the laws' own clock. */
export class TimedObject extends LawObject {
  protected override now(): number {
    return clock.now();
  }
}

const inside: Record<string, (env: Env) => KeyValueStore> = {
  "Durable Objects": ({ TIMED }) => durableObjectStore(TIMED),
  "Durable Objects, 4 shards": ({ TIMED }) => durableObjectStore(TIMED, { shards: 4 }),
  "Workers KV": ({ CACHE }) => workersKvStore(CACHE, { clock }),
};

/**
 * Engines whose stores have prefixes; each law gets prefixes of its own, as all of them share one backend.
 */
const prefixed: Record<string, (env: Env, prefix: string) => KeyValueStore> = {
  "Durable Objects": ({ TIMED }, prefix) => durableObjectStore(TIMED, { prefix }),
  "Durable Objects, 4 shards": ({ TIMED }, prefix) => durableObjectStore(TIMED, { prefix, shards: 4 }),
  "Workers KV": ({ CACHE }, prefix) => workersKvStore(CACHE, { prefix }),
};

async function runPrefixLaw(env: Env, engine: string, index: number): Promise<void> {
  await prefixLaw[index]!.run({
    open: (prefix) => prefixed[engine]!(env, prefix),
    lists: engine !== "Durable Objects",
  });
}

/** The stores that a client reaches: in real time, and on a clock that follows the client's. */
const outside: Record<string, (env: Env) => KeyValueStore> = {
  "Durable Objects": ({ HOLDFAST }) => durableObjectStore(HOLDFAST, { shards: 4 }),
  "Durable Objects, virtual time": ({ TIMED }) => durableObjectStore(TIMED, { shards: 4 }),
  "Workers KV": ({ CACHE }) => workersKvStore(CACHE),
};

const transitions = [...OUR_TRANSITIONS, ...lawTransitions];

async function runLaw(store: KeyValueStore, contract: string, index: number): Promise<void> {
  const space = store.namespace(crypto.randomUUID()) as AtomicStore;
  await contracts[contract]![index]!.run(inVirtualTime(() => space, clock));
}

/** The calls of the store that an outside client may make: values travel encoded, as strings. */
// deno-lint-ignore no-explicit-any
async function operate(store: AtomicStore, op: string, args: any[]): Promise<unknown> {
  switch (op) {
    case "get":
      return await store.get(args[0]) ?? null;
    case "set":
      return await store.set(args[0], args[1], { ttl: args[2] ?? undefined }) ?? null;
    case "delete":
      return await store.delete(args[0]);
    case "touch":
      return await store.touch(args[0], args[1]);
    case "list":
      return await store.listPage(args[0]);
    case "transact":
      return await store.transact(transitions.find(({ name }) => name === args[0])!, args[1], args[2]);
  }
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    if (request.headers.get("authorization") !== `Bearer ${env.TOKEN}`) {
      return new Response(null, { status: 401 });
    }
    const { pathname } = new URL(request.url);
    const { engine, contract, index, op, args, now } = await request.json();
    try {
      if (pathname === "/store") {
        if (now > clock.now()) await clock.advance(now - clock.now());
        const store = outside[engine]!(env) as AtomicStore;
        return Response.json({ value: await operate(store, op, args) });
      }
      if (contract === "prefixes") await runPrefixLaw(env, engine, index);
      else await runLaw(inside[engine]!(env), contract, index);
      return Response.json({});
    } catch (error) {
      const { name, message, code } = error as { name: string; message: string; code?: string };
      return Response.json({ error: { name, message, code, stack: (error as Error).stack } });
    }
  },
};
