/** Counts what each call costs on each engine, on the real thing: Redis, Deno KV, Postgres, workerd. */
import pg from "pg";
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { postgresStore } from "@holdfast/edge/postgres";
import { upstashStore } from "@holdfast/edge/upstash";
import { startPostgres } from "../../support/postgres_server.ts";
import { startRedis } from "../../support/redis_server.ts";
import { startUpstash } from "../../support/upstash_server.ts";
import { startWorkerd } from "../../support/workerd.ts";
import { count, type Counts, WORK } from "./work.ts";

/** Requests at the endpoint, and the commands that Redis did: a script is one, and each command inside is one more. */
async function upstash(): Promise<Counts> {
  await using redis = await startRedis();
  await using endpoint = await startUpstash(redis.port);
  return await count(upstashStore(endpoint), WORK, async () => {
    const requests = endpoint.requests().length;
    const stats = new TextDecoder().decode(await redis.send("INFO", "commandstats") as Uint8Array);
    const calls = [...stats.matchAll(/^cmdstat_(?!info|config)[^:]+:calls=(\d+)/gm)].map(([, n]) =>
      Number(n)
    );
    await redis.send("CONFIG", "RESETSTAT");
    return { requests, commands: calls.reduce((sum, n) => sum + n, 0) };
  });
}

/** Keys read, and keys written by commits. Deno Deploy bills both in units of their size. */
async function denoKv(): Promise<Counts> {
  using kv = await Deno.openKv(":memory:");
  let taken = { reads: 0, writes: 0 };
  const counting = new Proxy(kv, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name);
      if (typeof member !== "function") return member;
      return (...args: unknown[]) => {
        const result = member.apply(target, args);
        if (name === "get") taken.reads++;
        else if (name === "getMany") taken.reads += (args[0] as unknown[]).length;
        else if (name === "set" || name === "delete") taken.writes++;
        else if (name === "atomic") {
          const commit = result.commit.bind(result);
          return Object.assign(result, { commit: () => (taken.writes++, commit()) });
        }
        return result;
      };
    },
  });
  return await count(denoKvStore(counting), WORK, () => {
    const last = taken;
    taken = { reads: 0, writes: 0 };
    return last;
  });
}

/** Statements, each of which is a round trip. */
async function postgres(): Promise<Counts> {
  await using server = await startPostgres();
  const pool = new pg.Pool({ connectionString: server.url, max: 2 });
  try {
    let statements = 0;
    const store = postgresStore((text, values) => (statements++, pool.query(text, values)));
    await store.migrate();
    return await count(store, WORK, () => {
      const last = { statements };
      statements = 0;
      return last;
    });
  } finally {
    await pool.end();
  }
}

/** By the names of the engines in the tables. */
export async function countAll(): Promise<Record<string, Counts>> {
  await using worker = await startWorkerd({
    entry: new URL("worker.ts", import.meta.url),
    durableObjects: { HOLDFAST: "CountingObject" },
    d1: ["DB"],
    kv: ["CACHE"],
  });
  const inside = async (name: string): Promise<Counts> => {
    const response = await worker.fetch(`/${name}`);
    if (!response.ok) throw new Error(await response.text());
    return await response.json();
  };
  return {
    "Upstash": await upstash(),
    "Durable Objects": await inside("objects"),
    "Deno KV": await denoKv(),
    "Postgres": await postgres(),
    "D1": await inside("d1"),
    "Workers KV": await inside("kv"),
  };
}

if (import.meta.main) {
  const counts = `${JSON.stringify(await countAll(), null, 2)}\n`;
  await Deno.writeTextFile(new URL("counts.json", import.meta.url), counts);
}
