/** Probes next to the objects: `/name` runs the probe of that name and answers what it found. */
import {
  createIdempotency,
  createLocks,
  createSessions,
  createThrottle,
  HoldfastError,
} from "@holdfast/edge";
import type { Transition } from "@holdfast/edge/engine";
import {
  durableObjectStore,
  type DurableObjectStoreOptions,
  type HoldfastNamespace,
  type HoldfastStub,
} from "@holdfast/edge/durable-objects";
import { type DurableState, HoldfastObject } from "@holdfast/edge/durable-objects/object";
import { ownProcess } from "../support/own_process.ts";
import { DurableObject } from "cloudflare:workers";
import { ObjectRecords } from "../../adapters/durable_objects/_records.ts";
import { OUR_TRANSITIONS } from "../../adapters/durable_objects/_transitions.ts";
import { eventually } from "../support/eventually.ts";
import { type Probes, probing } from "../support/probes.ts";

/** The calls of these probes' object, beside its work. */
interface ProbeStub extends HoldfastStub {
  look(): Promise<{ tables: number; rows: number; alarm: number | null }>;
  crash(): Promise<void>;
  cost(name: string, key: string, input: Record<string, string>): Promise<{ written: number }>;
  costAfter(other: string, name: string, key: string, input: Record<string, string>): Promise<[Cost, Cost]>;
  ring(): Promise<Cost>;
}

/** The rows that a call reads and writes. */
interface Cost {
  readonly read: number;
  readonly written: number;
}

interface Env {
  readonly FOREIGN: HoldfastNamespace;
  readonly HOLDFAST: { getByName(...args: Parameters<HoldfastNamespace["getByName"]>): ProbeStub };
}

interface ProbeState extends DurableState {
  readonly storage: DurableState["storage"] & { getAlarm(): Promise<number | null> };
  abort(reason: string): void;
}

/** A cursor of the runtime, which counts. */
interface MeteredCursor {
  readonly rowsRead: number;
  readonly rowsWritten: number;
  toArray(): Record<string, unknown>[];
}

/** The storage, with a count of the rows that its statements read and write. */
function metered(
  storage: ProbeState["storage"],
  cost: { read: number; written: number },
): DurableState["storage"] {
  return {
    sql: {
      exec(query, ...bindings) {
        const cursor = storage.sql.exec(query, ...bindings) as unknown as MeteredCursor;
        const rows = cursor.toArray();
        cost.read += cursor.rowsRead;
        cost.written += cursor.rowsWritten;
        return { toArray: () => rows };
      },
    },
    setAlarm: (time) => storage.setAlarm(time),
    deleteAlarm: () => storage.deleteAlarm(),
    deleteAll: () => storage.deleteAll(),
  };
}

export class ProbeObject extends HoldfastObject {
  readonly #state: ProbeState;

  constructor(state: ProbeState, env: unknown) {
    super(state, env);
    this.#state = state;
  }

  /** Runs work on this object's records, and tells how many rows it read and wrote. */
  #metered(work: (records: ObjectRecords) => void): Cost {
    const cost = { read: 0, written: 0 };
    const find = (name: string) => OUR_TRANSITIONS.find((transition) => transition.name === name);
    work(new ObjectRecords(metered(this.#state.storage, cost), find, () => Date.now()));
    return cost;
  }

  /** The cost of the alarm. */
  ring(): Cost {
    return this.#metered((records) => records.purge());
  }

  /** The cost of a transition. */
  cost(name: string, key: string, input: Record<string, string>): Cost {
    return this.#metered((records) => records.transact(name, key, input));
  }

  /** The cost of a transition in an object that was asked for another record before, and of the same transition again. */
  costAfter(other: string, name: string, key: string, input: Record<string, string>): [Cost, Cost] {
    const costs = [[other], [other, key], [other, key, key]].map((keys) =>
      this.#metered((records) => keys.forEach((key) => records.transact(name, key, input)))
    );
    const less = (a: Cost, b: Cost) => ({ read: a.read - b.read, written: a.written - b.written });
    return [less(costs[1]!, costs[0]!), less(costs[2]!, costs[1]!)];
  }

  async look(): Promise<{ tables: number; rows: number; alarm: number | null }> {
    const { sql } = this.#state.storage;
    const tables = sql.exec("SELECT name FROM sqlite_master WHERE name = 'records'").toArray().length;
    const rows = tables === 0 ? 0 : sql.exec("SELECT key FROM records").toArray().length;
    return { tables, rows, alarm: await this.#state.storage.getAlarm() };
  }

  crash(): void {
    this.#state.abort("crashed by the test");
  }
}

/** An object without our methods. */
export class ForeignObject extends DurableObject {
  hello(): string {
    return "hello";
  }
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Counts calls by method; `bound` shortens how long one call waits for a change. */
function counted(namespace: HoldfastNamespace, bound = Infinity) {
  const calls: string[] = [];
  const counting: HoldfastNamespace = {
    getByName(name, options) {
      const stub = namespace.getByName(name, options);
      return new Proxy(stub, {
        get: (_target, method) => (...args: unknown[]) => {
          calls.push(String(method));
          if (method === "watch") args[2] = Math.min(args[2] as number, bound);
          // deno-lint-ignore no-explicit-any
          return (stub as any)[method](...args);
        },
      });
    },
  };
  return { namespace: counting, calls };
}

/** The longest timer that was set, and how many of each length. */
let longestTimer = 0;
const timers = new Map<number, number>();
const realSetTimeout = setTimeout;
globalThis.setTimeout = ((run: () => void, ms = 0) => {
  longestTimer = Math.max(longestTimer, ms);
  timers.set(ms, (timers.get(ms) ?? 0) + 1);
  return realSetTimeout(run, ms);
  // deno-lint-ignore no-explicit-any
}) as any;

type Fault = Pick<HoldfastError, "code" | "retryable" | "ambiguous" | "message">;

async function fault(work: () => Promise<unknown>): Promise<Fault | string> {
  try {
    return `no fault: ${JSON.stringify(await work())}`;
  } catch (error) {
    if (!(error instanceof HoldfastError)) return String(error);
    const { code, retryable, ambiguous, message } = error;
    return { code, retryable, ambiguous, message };
  }
}

const probes: Probes<Env> = {
  async costs({ HOLDFAST }) {
    const { namespace, calls } = counted(HOLDFAST);
    const store = durableObjectStore(namespace, { prefix: crypto.randomUUID(), shards: 3 });
    const costs: Record<string, number> = {};
    const cost = async <T>(name: string, work: () => T | Promise<T>): Promise<T> => {
      calls.length = 0;
      const result = await work();
      costs[name] = calls.length;
      return result;
    };
    await cost("set", () => store.set("key", 1));
    await cost("get", () => store.get("key"));
    await cost("exists", () => store.exists("key"));
    await cost("touch", () => store.touch("key", "1h"));
    await cost("delete", () => store.delete("key"));
    await cost("increment", () => store.increment("counter", { ttl: "1h" }));
    await cost("setIfAbsent", () => store.setIfAbsent("key", 1));
    await cost("compareAndSet", () => store.compareAndSet("key", 1, 2));
    await cost("compareAndDelete", () => store.compareAndDelete("key", 2));
    await cost("getAndDelete", () => store.getAndDelete("key"));
    const keys = Array.from({ length: 100 }, (_, i) => `key-${i}`);
    await cost("setMany of 100 on 3 shards", () => store.setMany(keys.map((key) => [key, 1])));
    await cost("getMany of 100 on 3 shards", () => store.getMany(keys));
    await cost("deleteMany of 100 on 3 shards", () => store.deleteMany(keys));
    const lock = await cost("lock: acquire", () => createLocks(store).acquire("key", { ttl: "1m" }));
    await cost("lock: acquire a held one", () => createLocks(store).acquire("key", { ttl: "1m" }));
    await cost("lock: extend", () => lock!.extend());
    await cost("lock: release", () => lock!.release());
    const idempotency = createIdempotency(store);
    const begun = await cost("idempotency: begin", () => idempotency.begin("key"));
    if (begun.state === "new") {
      await cost("idempotency: complete", () => idempotency.complete(begun.claim, 1));
    }
    await cost("idempotency: replay", () => idempotency.begin("key"));
    const throttle = createThrottle(store, { name: "api", limit: 1, window: "1m", timeout: "1m" });
    await cost("throttle: check", () => throttle.check("key"));
    await cost("throttle: a denied check", () => throttle.check("key"));
    const sessions = createSessions(store);
    const first = sessions.open(null);
    first.set("theme", "dark");
    const cookie = await cost("session: a first commit", () => sessions.commit(first));
    const header = cookie!.split(";")[0]!;
    await cost("session: one that nobody reads", () => sessions.commit(sessions.open(header)));
    await cost("session: a read", () => sessions.open(header).get("theme"));
    return costs;
  },

  /** Every caller has a store of its own, as two Workers have. */
  async contend({ HOLDFAST }, query) {
    const options: DurableObjectStoreOptions = { prefix: query.get("prefix")! };
    const [increments, acquires, begins] = await Promise.all([
      Promise.all(
        Array.from({ length: 250 }, () => durableObjectStore(HOLDFAST, options).increment("counter")),
      ),
      Promise.all(
        Array.from(
          { length: 50 },
          () => createLocks(durableObjectStore(HOLDFAST, options)).acquire("job", { ttl: "1m" }),
        ),
      ),
      Promise.all(
        Array.from(
          { length: 25 },
          () => createIdempotency(durableObjectStore(HOLDFAST, options)).begin("pay"),
        ),
      ),
    ]);
    return {
      values: increments.map(({ value }) => value),
      locks: acquires.filter((lock) => lock !== undefined).length,
      claims: begins.filter(({ state }) => state === "new").length,
    };
  },

  async increment({ HOLDFAST }, query) {
    const store = durableObjectStore(HOLDFAST, { prefix: query.get("prefix")! });
    return (await store.increment("counter")).value;
  },

  /** Increments while the object is made to crash again and again. */
  async crashes({ HOLDFAST }) {
    const prefix = crypto.randomUUID();
    const store = durableObjectStore(HOLDFAST, { prefix });
    const acknowledged: number[] = [];
    const faults = new Set<string>();
    let sent = 0;
    const fences: number[] = [];
    for (let round = 0; round < 5; round++) {
      const crash = async () => {
        await HOLDFAST.getByName(`${prefix}:counter`).crash().catch(() => {});
      };
      const increment = async () => {
        sent++;
        try {
          acknowledged.push((await store.increment("counter")).value);
        } catch (error) {
          const { code, ambiguous } = error as HoldfastError;
          faults.add(`${code}, ambiguous ${ambiguous}`);
        }
      };
      await Promise.all(Array.from({ length: 21 }, (_, i) => i === 10 ? crash() : increment()));
      const lock = await createLocks(store).acquire("job", { ttl: "1m" });
      fences.push(lock!.fencingToken);
      await HOLDFAST.getByName(`${prefix}:/lock/:job`).crash().catch(() => {});
      const second = await createLocks(store).acquire("job", { ttl: "1m" });
      if (second !== undefined) fences.push(-1);
      await lock!.release();
    }
    return { sent, acknowledged, fences, last: await store.get("counter"), faults: [...faults] };
  },

  async expiry({ HOLDFAST }, query) {
    const ttl = Number(query.get("ttl"));
    const prefix = crypto.randomUUID();
    const alone = durableObjectStore(HOLDFAST, { prefix });
    const shared = durableObjectStore(HOLDFAST, { prefix, shards: 1 });
    await alone.set("short", 1, { ttl });
    await shared.set("short", 1, { ttl });
    // An object that lost its memory must not postpone the alarm for a record that lives longer.
    await HOLDFAST.getByName(`${prefix}/shard 0 of 1`).crash().catch(() => {});
    await shared.set("long", 1, { ttl: "1h" });
    const look = async () => ({
      alone: await HOLDFAST.getByName(`${prefix}:short`).look(),
      shared: await HOLDFAST.getByName(`${prefix}/shard 0 of 1`).look(),
    });
    const before = await look();
    const now = Date.now();
    let after = await look();
    for (let i = 0; i < 300 && (after.alone.tables > 0 || after.shared.rows > 1); i++) {
      await sleep(100);
      after = await look();
    }
    return { before, after, now };
  },

  /** The rows that purges read beside many records that stay, and that writes write. */
  async purges({ HOLDFAST }) {
    const prefix = crypto.randomUUID();
    const shared = durableObjectStore(HOLDFAST, { prefix, shards: 1 });
    const object = HOLDFAST.getByName(`${prefix}/shard 0 of 1`);
    const many = (name: string, count: number) =>
      Array.from({ length: count }, (_, i) => [`${name}-${i}`, i] as const);
    await shared.setMany(many("live", 3000), { ttl: "1h" });
    await shared.setMany(many("ever", 3000));
    const nothing = await object.ring();
    await shared.setMany(many("dead", 2500), { ttl: 1 });
    await sleep(20);
    const slices = [await object.ring(), await object.ring(), await object.ring(), await object.ring()];
    const left = (await object.look()).rows;
    const alone = durableObjectStore(HOLDFAST, { prefix });
    const own = HOLDFAST.getByName(`${prefix}:key`);
    await alone.set("key", 1, { ttl: "1h" });
    const { written } = await own.cost("value.set", "key", { v: "2", ttl: "60000" });
    await createLocks(shared).withLock("job", { ttl: "1m" }, () => {});
    const { written: again } = await object.cost("lock.acquire", "/lock/:job", { owner: "x", ttl: "60000" });
    return { nothing, slices, left, written, again };
  },

  /** The rows that the load of a session reads, beside other sessions. */
  async sessionLoad({ HOLDFAST }) {
    const prefix = crypto.randomUUID();
    const sessions = createSessions(durableObjectStore(HOLDFAST, { prefix, shards: 1 }));
    for (let i = 0; i < 50; i++) {
      const session = sessions.open(null);
      session.set("n", i);
      await sessions.commit(session);
    }
    const object = HOLDFAST.getByName(`${prefix}/shard 0 of 1`);
    const { keys } = await object.list("/session/record/:", undefined, 10);
    const [load, again] = await object.costAfter(keys[7]!, "session.load", keys[3]!, {});
    return { sessions: keys.length, load, again };
  },

  /** A binding of an object that is not ours, and of one that was reset. */
  async foreign({ FOREIGN }) {
    return await fault(() => durableObjectStore(FOREIGN).set("secret", 1));
  },

  async empty({ HOLDFAST }) {
    const prefix = crypto.randomUUID();
    const store = durableObjectStore(HOLDFAST, { prefix });
    const object = HOLDFAST.getByName(`${prefix}:key`);
    const looks: unknown[] = [];
    await store.get("key");
    await store.delete("key");
    looks.push(await object.look());
    for (let i = 0; i < 20; i++) {
      await store.set("key", i, { ttl: "1h" });
      if (await store.get("key") !== i) throw new Error("it did not come back");
      await store.getAndDelete("key");
    }
    looks.push(await object.look());
    await Promise.all(
      Array.from({ length: 100 }, (_, i) => i % 2 ? store.set("key", i, { ttl: "1h" }) : store.delete("key")),
    );
    await store.delete("key");
    looks.push(await object.look());
    return looks;
  },

  async limits({ HOLDFAST }) {
    const store = durableObjectStore(HOLDFAST, { prefix: crypto.randomUUID(), shards: 1 });
    const unknown: Transition = { name: "nobody.knows", apply: () => ({ output: {} }) };
    const large = "x".repeat(1_500_000);
    const keys = Array.from({ length: 30 }, (_, i) => `large-${i}`);
    await store.setMany(keys.map((key) => [key, large]));
    const back = await store.getMany(keys);
    return {
      unknown: await fault(() => store.transact(unknown, "secret", {})),
      tooLarge: await fault(() => store.set("secret", "\u4e2d".repeat(700_000))),
      nothing: await store.get("secret") ?? null,
      back: back.filter((value) => value === large).length,
      fits: (await store.set("fits", "x".repeat(1_900_000)), (await store.get<string>("fits"))!.length),
    };
  },

  async faults({ HOLDFAST }) {
    const prefix = crypto.randomUUID();
    const broken: HoldfastNamespace = {
      getByName: (name) =>
        new Proxy(HOLDFAST.getByName(name), {
          get: () => async () => {
            await HOLDFAST.getByName(name).crash();
          },
        }),
    };
    const store = durableObjectStore(broken, { prefix });
    return {
      write: await fault(() => store.increment("secret")),
      read: await fault(() => store.get("secret")),
    };
  },

  /** One waits for another's lock: with short waits at the object, and with a crash in between. */
  async wait({ HOLDFAST }, query) {
    const { namespace, calls } = counted(HOLDFAST, Number(query.get("bound")));
    const prefix = crypto.randomUUID();
    const locks = createLocks(durableObjectStore(namespace, { prefix }));
    const first = await locks.acquire("job", { ttl: "2m" });
    calls.length = 0;
    const waiting = Promise.all(Array.from({ length: 3 }, async () => {
      const lock = await createLocks(ownProcess(durableObjectStore(namespace, { prefix }))).acquire("job", {
        ttl: "2m",
        wait: "50s",
      });
      const at = performance.now();
      await lock?.release();
      return at;
    }));
    await sleep(150);
    if (query.has("crash")) await HOLDFAST.getByName(`${prefix}:/lock/:job`).crash().catch(() => {});
    await sleep(150);
    if (query.has("again")) {
      await eventually(() => calls.filter((call) => call === "watch").length > 3, "they ask again");
    }
    const released = performance.now();
    await first!.release();
    const turns = (await waiting).map((at) => Math.round(at - released));
    return {
      turns,
      calls: Object.fromEntries(Map.groupBy(calls, (call) => call).entries().map(([k, v]) => [k, v.length])),
    };
  },

  /** The timers of calls that follow each other in one request, of the store's own and of a lock. */
  async timers({ HOLDFAST }) {
    const store = durableObjectStore(HOLDFAST, { prefix: crypto.randomUUID(), timeout: 7001 });
    const locks = createLocks(store, { timeout: 7002 });
    for (let i = 0; i < 20; i++) await store.increment("n");
    for (let i = 0; i < 20; i++) await (await locks.acquire("job", { ttl: "1m" }))!.release();
    return [timers.get(7001), timers.get(7002)];
  },

  /** Calls with a reply, and after them perhaps one without: it must end in time, whichever requests ended meanwhile. */
  async hangs(_env, query) {
    const reply = JSON.stringify({ output: {}, version: 0 });
    let calls = 0;
    const transact = async () => {
      await sleep(5);
      return ++calls <= 5 ? reply : await new Promise<string>(() => {});
    };
    const slow: HoldfastNamespace = { getByName: () => ({ transact }) as unknown as HoldfastStub };
    const store = durableObjectStore(slow, { timeout: 400 });
    for (let i = 0; i < 5; i++) await store.get("key");
    return query.has("hang") ? (await fault(() => store.get("key")) as Fault).code : "done";
  },

  async bound({ HOLDFAST }) {
    const stub = HOLDFAST.getByName(crypto.randomUUID());
    const short = await stub.watch("key", undefined, 50);
    longestTimer = 0;
    const waiting = stub.watch("key", short.version, 3_600_000);
    await eventually(() => longestTimer > 1000, "a long timer is set");
    const longest = longestTimer;
    await stub.setMany([["key", "value"]], undefined);
    const woken = await waiting;
    return { short, longest, woken: woken.changed, stale: (await stub.watch("key", 0, 1000)).changed };
  },
};

export default probing(probes);
