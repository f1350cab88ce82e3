/** The table of costs in `docs/engines/README.md`: counted at the wire of each engine, after a first call of its kind. */
import pg from "pg";
import {
  type AtomicStore,
  createIdempotency,
  createLocks,
  createSessions,
  createThrottle,
} from "@holdfast/edge";
import { createCache } from "@holdfast/edge/cache";
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { memoryMailer, outbox } from "@holdfast/edge/mail";
import { postgresStore } from "@holdfast/edge/postgres";
import { upstashStore } from "@holdfast/edge/upstash";
import { assertEquals } from "../support/assert.ts";
import { costsPlot, costsTable } from "./costs_plot.ts";
import { startPostgres } from "../support/postgres_server.ts";
import { startRedis } from "../support/redis_server.ts";
import { startUpstash } from "../support/upstash_server.ts";

/** What is counted: a row of the table, prepared and then done. */
const WORK: Readonly<Record<string, (store: AtomicStore, round: string) => Promise<() => Promise<unknown>>>> =
  {
    "`get`": async (store, round) => {
      await store.set(round, 1);
      return () => store.get(round);
    },
    "`set`": (store, round) => Promise.resolve(() => store.set(round, 1)),
    "a throttle's `check`, three policies": (store, round) => {
      const policies = [1, 2, 3].map((i) => ({ name: `p${i}`, limit: 10, window: "1m" } as const));
      const throttle = createThrottle(store, { name: round, policies });
      return Promise.resolve(() => throttle.check("ada"));
    },
    "a lock: `acquire` and `release`": (store, round) => {
      const locks = createLocks(store);
      return Promise.resolve(async () => await (await locks.acquire(round, { ttl: "30s" }))!.release());
    },
    "idempotency: `run`, new": (store, round) => {
      const idempotency = createIdempotency(store);
      return Promise.resolve(() => idempotency.run(round, () => 1));
    },
    "idempotency: `run`, repeated": async (store, round) => {
      const idempotency = createIdempotency(store);
      await idempotency.run(round, () => 1);
      return () => idempotency.run(round, () => 1);
    },
    "a session that is read": async (store) => {
      const { sessions, cookie } = await begunSession(store);
      return () => sessions.open(cookie).get("theme");
    },
    "a session that is read and written": async (store) => {
      const { sessions, cookie } = await begunSession(store);
      return async () => {
        const session = sessions.open(cookie);
        await session.update("theme", (theme) => `${theme}er`);
        await sessions.commit(session);
      };
    },
    "a cache's hit": async (store, round) => {
      const cache = createCache(store, { name: round });
      await cache.get("a", () => 1, { ttl: "1m" });
      return () => cache.get("a", () => 1, { ttl: "1m" });
    },
    "the outbox: `send`": (store, round) => {
      const queue = outbox(memoryMailer(), store, { name: round });
      const message = { from: "shop@example.com", to: "ada@example.com", subject: "Hello", text: "Hello" };
      return Promise.resolve(() => queue.send(message, { idempotencyKey: "order-17" }));
    },
  };

async function begunSession(store: AtomicStore) {
  const sessions = createSessions(store);
  const session = sessions.open(null);
  session.set("theme", "dark");
  const setCookie = await sessions.commit(session);
  return { sessions, cookie: setCookie!.split(";")[0]! };
}

/** An engine whose requests are counted. */
interface Counted extends AsyncDisposable {
  readonly store: AtomicStore;
  /** The requests since the last call. */
  count(): number;
}

const ENGINES: Readonly<Record<string, () => Promise<Counted>>> = {
  async "Upstash"() {
    const redis = await startRedis();
    const upstash = await startUpstash(redis.port);
    return {
      store: upstashStore(upstash),
      count: () => upstash.requests().length,
      async [Symbol.asyncDispose]() {
        await upstash[Symbol.asyncDispose]();
        await redis[Symbol.asyncDispose]();
      },
    };
  },
  async "Deno KV"() {
    const kv = await Deno.openKv(":memory:");
    let count = 0;
    const counting = new Proxy(kv, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== "function") return member;
        return (...args: unknown[]) => {
          const result = member.apply(target, args);
          if (name !== "atomic") {
            count++;
            return result;
          }
          const commit = result.commit.bind(result);
          return Object.assign(result, { commit: () => (count++, commit()) });
        };
      },
    });
    return {
      store: denoKvStore(counting),
      count: () => taken(() => count, () => count = 0),
      [Symbol.asyncDispose]: () => Promise.resolve(kv.close()),
    };
  },
  async "Postgres"() {
    const server = await startPostgres();
    const pool = new pg.Pool({ connectionString: server.url, max: 2 });
    let count = 0;
    const store = postgresStore((text, values) => (count++, pool.query(text, values)));
    await store.migrate();
    return {
      store,
      count: () => taken(() => count, () => count = 0),
      async [Symbol.asyncDispose]() {
        await pool.end();
        await server[Symbol.asyncDispose]();
      },
    };
  },
};

function taken(read: () => number, clear: () => void): number {
  const count = read();
  clear();
  return count;
}

Deno.test({
  name: "the table of costs in docs/engines/README.md shows the counted requests",
  sanitizeOps: false, // pg keeps sockets
  sanitizeResources: false,
  async fn() {
    const counted: Record<string, Record<string, string>> = {};
    for (const [engine, open] of Object.entries(ENGINES)) {
      await using run = await open();
      for (const [what, prepare] of Object.entries(WORK)) {
        // The first round teaches the server its scripts and the store its state.
        await (await prepare(run.store, `warm ${what}`))();
        const work = await prepare(run.store, `counted ${what}`);
        run.count();
        await work();
        (counted[what] ??= {})[engine] = String(run.count());
      }
    }
    const page = new URL("../../docs/engines/README.md", import.meta.url);
    assertEquals(costsTable(await Deno.readTextFile(page)), counted);
  },
});

Deno.test("the plot of costs shows the table's figures", async () => {
  const read = (path: string) => Deno.readTextFile(new URL(`../../${path}`, import.meta.url));
  assertEquals(
    await read("docs/engines/costs.svg"),
    costsPlot(costsTable(await read("docs/engines/README.md"))),
  );
});
