/** Probes next to Workers KV: `/name` runs the probe of that name and answers what it found. */
import { createCache } from "@holdfast/edge/cache";
import { createSessions, type HoldfastError } from "@holdfast/edge";
import { keyValueSessionStore } from "@holdfast/edge/sessions";
import { type KvNamespace, workersKvStore } from "@holdfast/edge/workers-kv";
import { type Probes, probing } from "../support/probes.ts";

interface Env {
  readonly CACHE: KvNamespace;
}

/** Counts operations by method. */
function counted(kv: KvNamespace) {
  const calls: string[] = [];
  const counting = new Proxy(kv, {
    get: (_target, method) => (...args: unknown[]) => {
      calls.push(String(method));
      // deno-lint-ignore no-explicit-any
      return (kv as any)[method](...args);
    },
  });
  return { kv: counting, calls };
}

async function fault(work: () => Promise<unknown>): Promise<unknown> {
  try {
    return `no fault: ${JSON.stringify(await work())}`;
  } catch (error) {
    const { name, message } = error as Error;
    return { name, code: (error as HoldfastError).code, message };
  }
}

const probes: Probes<Env> = {
  async costs({ CACHE }) {
    const { kv, calls } = counted(CACHE);
    const store = workersKvStore(kv, { prefix: "costs" });
    const costs: Record<string, string> = {};
    const cost = async (name: string, work: () => Promise<unknown>) => {
      calls.length = 0;
      await work();
      costs[name] = [...Map.groupBy(calls, (call) => call)].map(([call, all]) => `${all.length} ${call}`)
        .join(", ");
    };
    const keys = Array.from({ length: 250 }, (_, i) => `key-${i}`);
    await cost("set", () => store.set("key", 1));
    await cost("get", () => store.get("key"));
    await cost("exists", () => store.exists("key"));
    await cost("touch", () => store.touch("key", "1h"));
    await cost("delete", () => store.delete("key"));
    await cost("setMany of 250", () => store.setMany(keys.map((key) => [key, 1])));
    await cost("getMany of 250, each twice", () => store.getMany([...keys, ...keys]));
    await cost("listPage", () => store.listPage());
    return costs;
  },

  /** The native expiry, and the result of a read. */
  async deadlines({ CACHE }) {
    const store = workersKvStore(CACHE, { prefix: "deadlines" });
    const began = Date.now();
    await store.set("short", 1, { ttl: 50 });
    await store.set("long", 1, { ttl: 90_500 });
    await store.set("ever", 1);
    // deno-lint-ignore no-explicit-any
    const { keys } = await (CACHE as any).list({ prefix: "deadlines" });
    const native = Object.fromEntries(
      // deno-lint-ignore no-explicit-any
      keys.map((key: any) => [
        key.name,
        key.expiration === undefined ? null : key.expiration - Math.floor(began / 1000),
      ]),
    );
    // deno-lint-ignore no-explicit-any
    const longest = Math.max(...keys.map((key: any) => JSON.stringify(key.metadata ?? {}).length));
    await new Promise((resolve) => setTimeout(resolve, 60));
    return { native, longest, read: await store.getMany(["short", "long", "ever"]) };
  },

  /** Deadlines around the longest that native expiry holds. */
  async farDeadlines({ CACHE }) {
    const store = workersKvStore(CACHE, { prefix: "far" });
    const most = (2 ** 31 - 1 - 60) * 1000;
    await store.set("a", 1, { ttl: most });
    await store.set("b", 1, { ttl: 2 ** 50 });
    // deno-lint-ignore no-explicit-any
    const { keys } = await (CACHE as any).list({ prefix: "far:" });
    return {
      read: await store.getMany(["a", "b"]),
      // deno-lint-ignore no-explicit-any
      native: keys.map(({ expiration }: any) => expiration !== undefined),
    };
  },

  /** Pages whose keys have all expired are empty, and not the end. */
  async emptyPages({ CACHE }) {
    const store = workersKvStore(CACHE, { prefix: "pages" });
    await store.setMany(Array.from({ length: 20 }, (_, i) => [`a-${i}`, 1] as const), { ttl: 1 });
    await store.set("b", 1);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const first = await store.listPage({ limit: 10 });
    const all: string[] = [];
    for await (const key of store.list()) all.push(key);
    return { first: [first.keys.length, first.cursor !== undefined], all, cleared: await store.clear() };
  },

  async limits({ CACHE }) {
    const store = workersKvStore(CACHE, { prefix: "limits" });
    const longest = "x".repeat(512 - "limits:".length);
    const value = "x".repeat(25 * 1024 * 1024);
    await store.set(longest, value);
    const back = await store.get<string>(longest) === value;
    // Too large for one bulk read: they are read one by one.
    await store.set("second", value);
    const bulk = (await store.getMany([longest, "second"])).map((one) => one === value);
    const space = store.namespace("space");
    return {
      back,
      bulk,
      longKey: await fault(() => store.set(longest + "x", 1)),
      wideKey: await fault(() => store.set("\u00e9".repeat(253), 1)),
      namespaced: await fault(() => space.set("x".repeat(512 - "limits:".length - "/space/:".length), 1)),
      tooLong: await fault(() => space.set("x".repeat(513 - "limits:".length - "/space/:".length), 1)),
      large: await fault(() => store.set("key", value + "x")),
      wide: await fault(() => store.set("key", "\u00e9".repeat(13 * 1024 * 1024 + 1))),
    };
  },

  /** Sessions as an app would keep them here. */
  async sessions({ CACHE }) {
    const { kv, calls } = counted(CACHE);
    const sessions = createSessions(keyValueSessionStore(workersKvStore(kv)), { eventual: true });
    const first = sessions.open(null);
    first.set("theme", "dark");
    first.login("ada");
    const cookie = (await sessions.commit(first))!.split(";")[0]!;
    calls.length = 0;
    await sessions.commit(sessions.open(cookie));
    const lazy = calls.length;
    const second = sessions.open(cookie);
    const found = [await second.get("theme"), await second.userId()];
    second.revoke();
    await sessions.commit(second);
    const third = sessions.open(cookie);
    return { lazy, found, after: [await third.get("theme") ?? null, await third.userId() ?? null] };
  },

  async weakCache({ CACHE }) {
    const { kv, calls } = counted(CACHE);
    const faults: string[] = [];
    const cache = createCache(workersKvStore(kv, { prefix: "weak:" }), {
      name: "pages",
      onFault: (error) => faults.push(String(error)),
    });
    let asked = 0;
    const options = { ttl: "1h", absent: "1m", grace: "1h" } as const;
    const get = (key: string) => cache.get<unknown>(key, () => ++asked, options);
    const together = await Promise.all(Array.from({ length: 20 }, () => get("key")));
    const cost = [...calls];
    calls.length = 0;
    const hit = await get("key");
    const hitCost = [...calls];
    await cache.invalidate("key");
    const after = await get("key");
    const absent = await cache.get("none", () => undefined, options);
    const state = (await cache.peek("none"))?.state;
    const tags = { ...options, tags: ["a"] };
    // deno-lint-ignore no-explicit-any
    const refused = await fault(() => cache.get("key", () => 1, tags as any));
    return {
      together: [...new Set(together)],
      puts: cost.filter((call) => call === "put").length,
      hit,
      hitCost,
      after,
      absent: absent === undefined,
      state,
      refused,
      faults,
      weak: !("invalidateTags" in cache),
    };
  },

  async cacheTtl({ CACHE }) {
    await workersKvStore(CACHE).set("cached", 1);
    return await workersKvStore(CACHE, { cacheTtl: "30s" }).getMany(["cached", "missing"]).then((values) =>
      values[0]
    );
  },
};

export default probing(probes);
