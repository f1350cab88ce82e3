/**
 * The promises that caches keep, ours beside its peers, over one real Redis: `deno task bench:cache-peers`.
 * Each cache runs as two nodes, with a memory of their own where it has one. Every line is something that
 * users lose data by.
 */
// deno-lint-ignore-file no-console
import { type CacheEntry, cachified } from "@epic-web/cachified";
import { createCache as createDedupe } from "async-cache-dedupe";
import { BentoCache, bentostore } from "bentocache";
import { redisDriver } from "bentocache/drivers/redis";
import { Cacheable } from "cacheable";
import { Redis } from "ioredis";
import { createCache } from "@holdfast/edge/cache";
import { upstashStore } from "@holdfast/edge/upstash";
import { startRedis } from "../tests/support/redis_server.ts";
import { startUpstash } from "../tests/support/upstash_server.ts";

/** One node of a cache, as far as the table needs it. */
export interface Node {
  get(key: string, fill: () => Promise<unknown>): Promise<unknown>;
  invalidate(key: string): Promise<unknown>;
  /** Invalidates by tag, if the cache has tags: every value has the tag "tag". */
  invalidateTag?(): Promise<unknown>;
  close?(): Promise<unknown>;
}

/** Makes a node; `space` is the key space that the nodes of one experiment share. */
export type MakeNode = (space: string) => Node;

const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

/** The peers over a Redis. */
export function peers(port: number): Readonly<Record<string, MakeNode>> {
  const connect = () => {
    const redis = new Redis({ port, host: "127.0.0.1", maxRetriesPerRequest: 1 });
    redis.on("error", () => {}); // the server ends before its clients do
    return redis;
  };
  return {
    bentocache(space) {
      const connection = connect();
      const store = bentostore().useL2Layer(redisDriver({ connection, prefix: space }));
      const cache = new BentoCache({ default: "main", stores: { main: store } });
      return {
        get: (key, factory) =>
          cache.getOrSet({ key, factory, ttl: "1h", grace: "2h", tags: ["tag"], timeout: 0 }),
        invalidate: (key) => cache.delete({ key }),
        invalidateTag: () => cache.deleteByTag({ tags: ["tag"] }),
        close: () => cache.disconnect().then(() => connection.disconnect()),
      };
    },
    cacheable(space) {
      const redis = connect();
      const adapter = {
        opts: {},
        get: async (key: string) => await redis.get(space + key) ?? undefined,
        set: async (key: string, value: string) => void await redis.set(space + key, value),
        delete: async (key: string) => await redis.del(space + key) > 0,
        clear: async () => {},
        on: () => adapter,
      };
      // deno-lint-ignore no-explicit-any
      const cache = new Cacheable({ secondary: adapter as any, nonBlocking: false });
      return {
        get: (key, fill) => cache.getOrSet(key, fill, { ttl: "1h" }),
        invalidate: (key) => cache.delete(key),
        close: () => Promise.resolve(redis.disconnect()),
      };
    },
    cachified(space) {
      const redis = connect();
      const cache = {
        get: async (key: string) => {
          const text = await redis.get(space + key);
          return text === null ? null : JSON.parse(text) as CacheEntry<unknown>;
        },
        set: (key: string, value: CacheEntry<unknown>) => redis.set(space + key, JSON.stringify(value)),
        delete: (key: string) => redis.del(space + key),
      };
      return {
        get: (key, getFreshValue) => cachified({ key, cache, getFreshValue, ttl: 3_600_000 }),
        invalidate: (key) => redis.del(space + key),
        close: () => Promise.resolve(redis.disconnect()),
      };
    },
    "async-cache-dedupe"(space) {
      const client = connect();
      let fill: (() => Promise<unknown>) | undefined;
      const cache = createDedupe({
        ttl: 3600,
        // deno-lint-ignore no-explicit-any
        storage: { type: "redis", options: { client, invalidation: { referencesTTL: 3600 } } as any },
      }).define("load", { references: () => [`${space}tag`] }, () => fill!());
      // deno-lint-ignore no-explicit-any
      const any = cache as any;
      return {
        get: (key, given) => {
          fill = given;
          return any.load(space + key);
        },
        invalidate: (key) => any.clear("load", space + key),
        invalidateTag: () => any.invalidate("load", [`${space}tag`]),
        close: () => Promise.resolve(client.disconnect()),
      };
    },
  };
}

/** An experiment: what is written in the table, and whether the promise was kept. */
type Experiment = (
  nodes: readonly [Node, Node],
) => Promise<{ readonly shown: string; readonly kept: boolean }>;

/** A fill that begins before an invalidation and ends after it. */
async function staleFill(nodes: readonly [Node, Node], invalidate: (node: Node) => Promise<unknown>) {
  const [one, two] = nodes;
  let begun!: () => void;
  const begins = new Promise<void>((resolve) => begun = resolve);
  const slow = one.get("key", async () => {
    begun();
    await pause(200);
    return "old";
  });
  await begins;
  await invalidate(two);
  await slow;
  await pause(50);
  const seen = await two.get("key", () => Promise.resolve("new"));
  return { shown: `answers "${seen}"`, kept: seen === "new" };
}

export const experiments: Readonly<Record<string, Experiment>> = {
  "a fill under way does not undo a delete": (nodes) => staleFill(nodes, (node) => node.invalidate("key")),
  "a fill under way does not undo a delete by tag": async (nodes) => {
    if (!nodes[0].invalidateTag) return { shown: "no tags", kept: false };
    return await staleFill(nodes, (node) => node.invalidateTag!());
  },
  "two nodes that miss at once fill once": async (nodes) => {
    let fills = 0;
    const fill = async () => {
      fills++;
      await pause(150);
      return "value";
    };
    await Promise.all(nodes.map((node) => node.get("key", fill)));
    return { shown: `${fills} fills`, kept: fills === 1 };
  },
  "a failing origin is asked once for 20 waiters": async ([one]) => {
    let calls = 0;
    const fill = async () => {
      calls++;
      await pause(50);
      throw new RangeError("the origin's own");
    };
    await Promise.all(Array.from({ length: 20 }, () => one.get("key", fill).catch(() => {})));
    return { shown: `${calls} calls`, kept: calls === 1 };
  },
  "the origin's error is thrown as it is": async ([one]) => {
    const broken = new RangeError("the origin's own");
    const seen = await one.get("key", () => Promise.reject(broken)).then(
      (value) => `resolves ${value}`,
      (error) => error,
    );
    if (seen === broken) return { shown: "throws it", kept: true };
    return { shown: typeof seen === "string" ? seen : `throws ${(seen as Error)?.name}`, kept: false };
  },
  "after a delete by tag no old value stands in for a failing origin": async ([one]) => {
    if (!one.invalidateTag) return { shown: "no tags", kept: false };
    await one.get("key", () => Promise.resolve("old"));
    await one.invalidateTag();
    const seen = await one.get("key", () => Promise.reject(new Error("down"))).catch(() => "an error");
    return { shown: `answers ${seen === "an error" ? seen : `"${seen}"`}`, kept: seen === "an error" };
  },
};

/** Runs every experiment on a cache. */
export async function run(make: MakeNode): Promise<Map<string, { shown: string; kept: boolean }>> {
  const results = new Map<string, { shown: string; kept: boolean }>();
  for (const [name, experiment] of Object.entries(experiments)) {
    const space = `${crypto.randomUUID()}:`;
    const nodes = [make(space), make(space)] as const;
    results.set(name, await experiment(nodes));
    await Promise.all(nodes.map((node) => node.close?.()));
  }
  return results;
}

/** A node of ours over an Upstash-compatible endpoint of the same Redis. */
export function ours(server: { readonly url: string; readonly token: string }): MakeNode {
  return (space) => {
    const cache = createCache(upstashStore(server), { name: space });
    const options = { ttl: "1h", grace: "2h", tags: ["tag"] } as const;
    return {
      get: (key, fill) => cache.get(key, fill, options),
      invalidate: (key) => cache.invalidate(key),
      invalidateTag: () => cache.invalidateTags(["tag"]),
    };
  };
}

if (import.meta.main) {
  await using redis = await startRedis();
  await using server = await startUpstash(redis.port);
  const makers = { "@holdfast/edge": ours(server), ...peers(redis.port) };
  const results = new Map<string, Awaited<ReturnType<typeof run>>>();
  for (const [name, make] of Object.entries(makers)) results.set(name, await run(make));
  console.log(`| promise | ${[...results.keys()].join(" | ")} |`);
  console.log(`| --- |${" --- |".repeat(results.size)}`);
  for (const name of Object.keys(experiments)) {
    const cells = [...results.values()].map((all) => {
      const { shown, kept } = all.get(name)!;
      return `${shown === "no tags" ? "–" : kept ? "kept" : "BROKEN"}: ${shown}`;
    });
    console.log(`| ${name} | ${cells.join(" | ")} |`);
  }
  Deno.exit(0); // peers keep connections and timers open
}
