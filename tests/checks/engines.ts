/** The engines that contracts are checked on: one entry each. */
import { type AtomicStore, memoryStore, systemClock } from "@holdfast/edge";
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { postgresStore } from "@holdfast/edge/postgres";
import { libsqlStore } from "@holdfast/edge/sqlite";
import { upstashStore } from "@holdfast/edge/upstash";
import { createClient } from "@libsql/client";
import pg from "pg";
import { startPostgres } from "../support/postgres_server.ts";
import type { Random } from "../support/random.ts";
import { type RedisServer, startRedis } from "../support/redis_server.ts";
import { startUpstash, type UpstashServer } from "../support/upstash_server.ts";
import { httpAtomicStore, sender, startLawWorker } from "../workerd/_http_store.ts";
import { faultyStore, someFault } from "./faulty_store.ts";

/** An engine that is running. */
export interface Opened {
  /** A store of a client's own: no memory is shared but the engine's. */
  store(): AtomicStore;
  /** The servers, where there are any: peers run on the same ones. */
  readonly servers?: { readonly redis: RedisServer; readonly upstash: UpstashServer };
  close(): Promise<void> | void;
}

/** The start of each engine, with the rate at which its calls go wrong. */
export const engines: Record<string, (random: Random, faults: number) => Promise<Opened> | Opened> = {
  "memory"(random, faults) {
    const store = memoryStore();
    return { store: () => faultyStore(store, random, faults), close() {} };
  },
  async "Deno KV"(random, faults) {
    const kv = await Deno.openKv(":memory:");
    return { store: () => faultyStore(denoKvStore(kv), random, faults), close: () => kv.close() };
  },
  async "Upstash"(random, faults) {
    const redis = await startRedis();
    const upstash = await startUpstash(redis.port);
    upstash.fault = () => someFault(random, faults);
    return {
      store: () => upstashStore({ url: upstash.url, token: upstash.token }, { timeout: 10_000 }),
      servers: { redis, upstash },
      async close() {
        await upstash[Symbol.asyncDispose]();
        await redis[Symbol.asyncDispose]();
      },
    };
  },
  async "Postgres"(random, faults) {
    const server = await startPostgres();
    const pool = new pg.Pool({ connectionString: server.url, max: 16 });
    const open = () => postgresStore((text, values) => pool.query(text, values));
    await open().migrate();
    return {
      store: () => faultyStore(open(), random, faults),
      async close() {
        await pool.end();
        await server[Symbol.asyncDispose]();
      },
    };
  },
  async "libSQL"(random, faults) {
    const folder = await Deno.makeTempDir();
    const client = createClient({ url: `file:${folder}/holdfast.db`, timeout: 60_000 });
    await client.execute("pragma journal_mode = wal");
    await libsqlStore(client).migrate();
    return {
      store: () => faultyStore(libsqlStore(client), random, faults),
      async close() {
        client.close();
        await Deno.remove(folder, { recursive: true });
      },
    };
  },
  // Over HTTP, in real time as this process has it: workerd's own time stands still while it works, so a busy object takes
  // a request for older than it is. Locks there are checked inside workerd, where their waiters can listen: tests/lock/objects_test.ts.
  async "Durable Objects"(random, faults) {
    const token = crypto.randomUUID();
    const worker = await startLawWorker(token);
    const store = httpAtomicStore(sender(worker, token, "Durable Objects, virtual time", systemClock));
    return {
      store: () => faultyStore(store, random, faults),
      async close() {
        await worker[Symbol.asyncDispose]();
        await new Promise((resolve) => setTimeout(resolve, 500)); // miniflare cleans up after its own end
      },
    };
  },
};

/**
 * The result of a run; of another run where it is not good and the machine's wall clock, which engines go by,
 * was corrected meanwhile.
 */
export async function steadily<T>(run: () => Promise<T>, good: (found: T) => boolean): Promise<T> {
  for (let attempt = 1;; attempt++) {
    const offset = Date.now() - performance.now();
    const found = await run();
    const stepped = Math.abs(Date.now() - performance.now() - offset) >= 2;
    if (good(found) || !stepped || attempt === 5) return found;
  }
}
