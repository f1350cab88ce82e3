/** Locks inside workerd, next to their objects: `/fair` and `/check` answer what they found. */
import { createLocks } from "@holdfast/edge";
import { durableObjectStore, type HoldfastNamespace } from "@holdfast/edge/durable-objects";
import { HoldfastObject } from "@holdfast/edge/durable-objects/object";
import { faultyStore } from "../checks/faulty_store.ts";
import { heldLock, runWorkload } from "../checks/lock_workload.ts";
import { Random } from "../support/random.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { ownProcess } from "../support/own_process.ts";
import { type Probes, probing } from "../support/probes.ts";

export { HoldfastObject };

interface Env {
  readonly HOLDFAST: HoldfastNamespace;
  readonly TIMED: HoldfastNamespace;
}

/** Time that passes when a probe says so, for the probe's locks and the objects of `TIMED`. */
const clock = new ManualClock();

/** An object on that clock. */
export class TimedObject extends HoldfastObject {
  protected override now(): number {
    return clock.now();
  }
}

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
   * Many wait in one queue: who they are, and what it cost. The clock stands still while each has its turn, so no
   * waiter that sleeps is served.
   */
  async fair({ TIMED }, query) {
    const waiters = Number(query.get("waiters"));
    const { namespace, calls } = counted(TIMED);
    const prefix = crypto.randomUUID();
    const locks = () => createLocks(ownProcess(durableObjectStore(namespace, { prefix })), { clock });
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
        released = performance.now();
        await lock!.release();
      };
      waiting.push(waiter());
      await eventually(async () => (await locks().inspect("key")).waiting > i, "it has its place");
    }
    let quiet = 0;
    await eventually(() => quiet === (quiet = calls.length), "all listen");
    calls.length = 0;
    await clock.advance(1500);
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
    const first = await locks().acquire("key", { ttl: "5m" });
    const order: number[] = [];
    const waiting = Array.from({ length: waiters }, async (_, i) => {
      const lock = await locks().acquire("key", { ttl: "5m", wait: "5m" });
      if (lock) order.push(i);
      await lock?.release();
    });
    const began = performance.now();
    await first!.release();
    await Promise.all(waiting);
    return { order, took: performance.now() - began, calls: calls.length };
  },

  /** The time that the object is asked to wait, and the number of calls that are open after a short wait. */
  async brief({ HOLDFAST }, query) {
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
    const refused = await locks.acquire("key", { ttl: "1m", wait: Number(query.get("wait")) });
    await eventually(() => open === 0, "no call is open");
    return { refused: refused === undefined, lengths, open };
  },

  /** More waits on one key than an object takes. */
  async full({ HOLDFAST }, query) {
    const stub = HOLDFAST.getByName(crypto.randomUUID());
    let refused = 0;
    const waits = Array.from({ length: Number(query.get("waits")) }, async () => {
      const ended = await stub.watch("key", undefined, 60_000);
      if (ended.refused) refused++;
      return ended.changed;
    });
    // They arrive in order: once the last is refused, all others wait.
    await eventually(() => refused === Number(query.get("refused")), "those too many are refused");
    await stub.setMany([["key", "value"]], undefined);
    const changed = await Promise.all(waits);
    return { changed: changed.filter((changed) => changed).length, refused };
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
