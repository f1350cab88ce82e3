/** Locks inside workerd, next to their objects: `/fair` and `/check` answer what they found. */
import { createLocks } from "@holdfast/edge";
import { durableObjectStore, type HoldfastNamespace } from "@holdfast/edge/durable-objects";
import { HoldfastObject } from "@holdfast/edge/durable-objects/object";
import { faultyStore } from "../checks/faulty_store.ts";
import { heldLock, runWorkload } from "../checks/lock_workload.ts";
import { Random } from "../support/random.ts";
import { ownProcess } from "../support/own_process.ts";
import { type Probes, probing } from "../support/probes.ts";

export { HoldfastObject };

interface Env {
  readonly HOLDFAST: HoldfastNamespace;
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Counts calls to the objects. */
function counted(namespace: HoldfastNamespace) {
  const calls: string[] = [];
  const counting: HoldfastNamespace = {
    getByName: (name, options) =>
      new Proxy(namespace.getByName(name, options), {
        get: (stub, method) => (...args: unknown[]) => {
          calls.push(String(method));
          // deno-lint-ignore no-explicit-any
          return (stub as any)[method](...args);
        },
      }),
  };
  return { namespace: counting, calls };
}

const probes: Probes<Env> = {
  /**
   * Many wait in one queue; who they are, how long after the release before it each had its turn, what it
   * cost.
   */
  async fair({ HOLDFAST }, query) {
    const waiters = Number(query.get("waiters"));
    const { namespace, calls } = counted(HOLDFAST);
    const prefix = crypto.randomUUID();
    const locks = () => createLocks(ownProcess(durableObjectStore(namespace, { prefix })));
    const first = await locks().acquire("key", { ttl: "1m" });
    const order: number[] = [];
    let released = 0;
    let slowest = 0;
    const waiting: Promise<void>[] = [];
    for (let i = 0; i < waiters; i++) {
      const waiter = async () => {
        const lock = await locks().acquire("key", { ttl: "1m", wait: "1m", fair: true });
        slowest = Math.max(slowest, performance.now() - released);
        order.push(i);
        await sleep(2);
        released = performance.now();
        await lock!.release();
      };
      waiting.push(waiter());
      while ((await locks().inspect("key")).waiting <= i) await sleep(1);
    }
    await sleep(500);
    calls.length = 0;
    await sleep(1500);
    const idle = calls.length;
    released = performance.now();
    await first!.release();
    await Promise.all(waiting);
    return { order, slowest, idle, calls: calls.length };
  },

  /** Many waiters of one isolate, each with a store of its own, as requests have. */
  async crowd({ HOLDFAST }, query) {
    const waiters = Number(query.get("waiters"));
    const { namespace, calls } = counted(HOLDFAST);
    const prefix = crypto.randomUUID();
    const locks = () => createLocks(durableObjectStore(namespace, { prefix }));
    const first = await locks().acquire("key", { ttl: "1m" });
    const order: number[] = [];
    const waiting = Array.from({ length: waiters }, async (_, i) => {
      const lock = await locks().acquire("key", { ttl: "1m", wait: "1m" });
      if (lock) order.push(i);
      await lock?.release();
    });
    await sleep(20);
    const began = performance.now();
    await first!.release();
    await Promise.all(waiting);
    return { order, took: performance.now() - began, calls: calls.length };
  },

  /** How long the object is asked to wait, and how many calls are open after a short wait. */
  async brief({ HOLDFAST }) {
    const lengths: number[] = [];
    let open = 0;
    const namespace: HoldfastNamespace = {
      getByName: (name, options) =>
        new Proxy(HOLDFAST.getByName(name, options), {
          get: (stub, method) => async (...args: unknown[]) => {
            if (method === "watch") lengths.push(args[2] as number);
            open++;
            // deno-lint-ignore no-explicit-any
            return await (stub as any)[method](...args).finally(() => open--);
          },
        }),
    };
    const locks = createLocks(durableObjectStore(namespace, { prefix: crypto.randomUUID() }));
    await locks.acquire("key", { ttl: "1m" });
    const refused = await locks.acquire("key", { ttl: "1m", wait: "100ms" });
    await sleep(50);
    return { refused: refused === undefined, lengths, open };
  },

  /** More waits on one key than an object takes. */
  async full({ HOLDFAST }, query) {
    const stub = HOLDFAST.getByName(crypto.randomUUID());
    const waits = Array.from(
      { length: Number(query.get("waits")) },
      () => stub.watch("key", undefined, 3000),
    );
    await sleep(500);
    await stub.setMany([["key", "value"]], undefined);
    const ended = await Promise.all(waits);
    return {
      changed: ended.filter(({ changed }) => changed).length,
      refused: ended.filter(({ refused }) => refused).length,
    };
  },

  async check({ HOLDFAST }, query) {
    const random = new Random(Number(query.get("seed")));
    const prefix = crypto.randomUUID();
    const clients = Array.from({ length: 12 }, () => {
      const locks = createLocks(
        ownProcess(faultyStore(durableObjectStore(HOLDFAST, { prefix }), random, 0.2)),
      );
      return async (key: string, ttl: number) => {
        return heldLock(await locks.acquire(key, { ttl, wait: "20s" }));
      };
    });
    const [sections, pauses] = [Number(query.get("sections")), Number(query.get("pauses"))];
    return await runWorkload({ random, clients, sections, pauses });
  },
};

export default probing(probes);
