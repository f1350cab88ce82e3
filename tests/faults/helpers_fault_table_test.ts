/**
 * The table of faults of the helpers: fault × engine × helper → what the first request gets, and what
 * `onFault` hears. A misconfiguration is always thrown, and names its cause; an outage is decided by the
 * caller's policy. Every fault is made for real where the engine can make it.
 */
import { Redis as IoRedis } from "ioredis";
import { type AtomicStore, memoryStore } from "@holdfast/edge";
import type { Transition } from "@holdfast/edge/engine";
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { upstashStore } from "@holdfast/edge/upstash";
import { assert, assertEquals } from "../support/assert.ts";
import { startRedis } from "../support/redis_server.ts";
import { report } from "../support/report.ts";
import { type Fault, startUpstash } from "../support/upstash_server.ts";
import { startWorkerd, type WorkerdOptions, workerdTest } from "../support/workerd.ts";
import { type Answer, firstRequest, type Helper, HELPERS } from "./_helpers_app.ts";

/** The outcomes while a store is unavailable, on every engine. */
const OUTAGE: Record<Helper, "ran" | "503" | "thrown"> = {
  "throttle allow": "ran",
  "throttle deny": "503",
  "throttle throw": "thrown",
  session: "503",
  "idempotency deny": "503",
  "idempotency allow": "ran",
  "lock deny": "503",
  "lock throw": "thrown",
};

/**
 * The outcomes on a full store: a client can fill it, so nothing that it would count or keep runs beside it.
 */
const FULL: Record<Helper, string> = {
  ...OUTAGE,
  "throttle allow": "status 429",
  "idempotency allow": "503",
};

/** The promise of a row: the code, and of a misconfiguration a word of the message that names its cause. */
type Row =
  | { readonly code: string; readonly read?: string; readonly names: RegExp }
  | { readonly code: string; readonly outage: true };

/** Asks every helper, and compares. */
async function check(fault: string, row: Row, ask: (helper: Helper) => Promise<Answer>): Promise<void> {
  for (const helper of HELPERS) {
    const { answer, heard, message } = await ask(helper);
    const where = `${fault}, ${helper}: ${message}`;
    const policy = "outage" in row ? OUTAGE[helper] : "thrown";
    // A session is only read.
    const code = helper === "session" && "names" in row ? row.read ?? row.code : row.code;
    assertEquals(answer, policy === "thrown" ? `thrown ${code}` : policy, where);
    assertEquals(heard, [code], `${where}: onFault hears of it once`);
    if ("names" in row) assert(row.names.test(message), where);
  }
  cells += HELPERS.length;
}
let cells = 0;

Deno.test({
  name: "helpers, fault table: Upstash",
  sanitizeOps: false, // connections that were cut
  sanitizeResources: false,
  async fn(t) {
    await using redis = await startRedis();
    await using server = await startUpstash(redis.port);
    const { url, token } = server;
    const rows: Record<string, Row & { readonly fault?: Fault; readonly token?: string }> = {
      "a wrong token": { token: "wrong", code: "unauthorized", names: /WRONGPASS|Unauthorized/ },
      "a read-only token": {
        token: "read-only-token",
        code: "read-only",
        read: "misconfigured",
        names: /NOPERM/,
      },
      "a deleted database": {
        fault: { status: 404, body: "<html>not found" },
        code: "misconfigured",
        names: /status 404/,
      },
      "the daily limit": {
        fault: { status: 400, body: '{"error":"ERR max daily request limit exceeded. Limit: 1"}' },
        code: "quota-exceeded",
        names: /ERR/,
      },
      "cut off": { fault: { cut: "before" }, code: "backend-unavailable", outage: true },
      "a gateway's failure": {
        fault: { status: 502, body: "bad gateway" },
        code: "backend-unavailable",
        outage: true,
      },
    };
    for (const [fault, { fault: reply, token: other = token, ...row }] of Object.entries(rows)) {
      await t.step(fault, async () => {
        server.fault = reply && (() => reply);
        await check(
          `Upstash, ${fault}`,
          row,
          (helper) => firstRequest(upstashStore({ url, token: other }), helper),
        );
        server.fault = undefined;
      });
    }
    report(`fault table of helpers: ${cells} cells`);
  },
});

Deno.test({
  name: "helpers, fault table: Redis over TCP",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn(t) {
    const fitted = (client: IoRedis) =>
      upstashStore({
        evalsha: (sha, keys, args) => client.evalsha(sha, keys.length, ...keys, ...args),
        eval: (script, keys, args) => client.eval(script, keys.length, ...keys, ...args),
      });
    await t.step("no password", async () => {
      await using redis = await startRedis("--requirepass", "right");
      const client = new IoRedis(redis.port, "127.0.0.1", { lazyConnect: true });
      client.on("error", () => {});
      await check(
        "Redis, no password",
        { code: "unauthorized", names: /NOAUTH/ },
        (helper) => firstRequest(fitted(client), helper),
      );
      client.disconnect();
    });
    await t.step("full", async () => {
      await using redis = await startRedis();
      await redis.send("CONFIG", "SET", "maxmemory", "1");
      const client = new IoRedis(redis.port, "127.0.0.1");
      const { session: _, ...writing } = FULL; // a session is only read: that works
      for (const helper of Object.keys(writing) as Helper[]) {
        const { answer, heard } = await firstRequest(fitted(client), helper);
        const policy = FULL[helper];
        assertEquals([helper, answer], [helper, policy === "thrown" ? "thrown store-full" : policy]);
        assertEquals([...new Set(heard)], ["store-full"]);
      }
      client.disconnect();
    });
  },
});

const hold: Transition = {
  name: "test.hold",
  apply: () => ({ output: {}, write: { record: { a: "1" }, retention: "protected" } }),
};

/** Stores in this process that are unavailable or misconfigured. */
const local: Record<string, Row & { readonly open: () => Promise<AtomicStore & Partial<Disposable>> }> = {
  "Deno KV, closed": {
    async open() {
      const kv = await Deno.openKv(":memory:");
      kv.close();
      return denoKvStore(kv);
    },
    code: "misconfigured",
    names: /closed/,
  },
  "Deno KV, connection lost": {
    open: () => {
      const fail = () => Promise.reject(new Error("error sending request"));
      const kv = { get: fail, getMany: fail, set: fail, atomic: () => ({}), watch: fail, list: fail };
      return Promise.resolve(denoKvStore(kv as never, { timeout: 1000 }));
    },
    code: "backend-unavailable",
    outage: true,
  },
};

for (const [fault, { open, ...row }] of Object.entries(local)) {
  Deno.test({
    name: `helpers, fault table: ${fault}`,
    sanitizeOps: false, // what the tests before left in the background
    sanitizeResources: false,
    async fn() {
      const store = await open();
      await check(fault, row, (helper) => firstRequest(store, helper));
    },
  });
}

Deno.test(
  "helpers, fault table: memory, full of protected records",
  { sanitizeOps: false },
  async () => {
    const store = memoryStore({ maxEntries: 1 });
    await store.transact(hold, "held", {});
    // The records written here are protected, too; a throttle's count has no place either, a session is only
    // read.
    for (const helper of HELPERS.filter((name) => name !== "session")) {
      const { answer, heard } = await firstRequest(store, helper);
      const policy = FULL[helper];
      assertEquals([helper, answer], [helper, policy === "thrown" ? "thrown store-full" : policy]);
      assertEquals([...new Set(heard)], ["store-full"], helper);
    }
  },
);

const worker = (more: Partial<WorkerdOptions>): WorkerdOptions => ({
  entry: new URL("./_helpers_worker.ts", import.meta.url),
  durableObjects: { HOLDFAST: "HoldfastObject" },
  ...more,
});

const objects: Record<string, Row & Partial<WorkerdOptions>> = {
  "a compatibility_date without RPC": {
    compatibilityDate: "2024-04-02",
    code: "misconfigured",
    names: /compatibility_date.*2024-04-03/,
  },
  "an object that ends": {
    durableObjects: { HOLDFAST: "EndingObject" },
    code: "backend-unavailable",
    outage: true,
  },
};

for (const [fault, { code, compatibilityDate, durableObjects, ...rest }] of Object.entries(objects)) {
  workerdTest(`helpers, fault table: Durable Objects: ${fault}`, async () => {
    await using running = await startWorkerd(worker({
      ...(compatibilityDate !== undefined && { compatibilityDate }),
      ...(durableObjects !== undefined && { durableObjects }),
    }));
    await check(`Durable Objects, ${fault}`, { code, ...rest } as Row, async (helper) => {
      return await (await running.fetch(`/${encodeURIComponent(helper)}`)).json() as Answer;
    });
  });
}
