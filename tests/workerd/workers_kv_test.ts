/** Workers KV's own behaviour, beside the law. */
import { HoldfastError } from "@holdfast/edge";
import { type KvNamespace, workersKvStore } from "@holdfast/edge/workers-kv";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";
import { bundle } from "../support/bundle.ts";
import { startWorkerd, workerdTest } from "../support/workerd.ts";

/** A namespace that fails the way Cloudflare's does. */
function failing(message: string): KvNamespace {
  const fail = () => Promise.reject(new Error(message));
  return { getWithMetadata: fail, put: fail, delete: fail, list: fail };
}

Deno.test("workersKvStore(): a second write in a second is retryable after one", async () => {
  const store = workersKvStore(failing("KV PUT failed: 429 Too Many Requests: secret"));
  const error = await assertRejects(() => store.set("key", 1), HoldfastError);
  assertEquals([error.code, error.retryable, error.ambiguous, error.retryAfter], [
    "rate-limited",
    true,
    false,
    1000,
  ]);
  assert(!/secret|key/.test(error.message));
});

Deno.test("workersKvStore(): other failures are typed, ambiguous where a write may have happened", async () => {
  const outcomes = async (message: string) => {
    const store = workersKvStore(failing(message));
    const write = await assertRejects(() => store.set("key", 1), HoldfastError);
    const read = await assertRejects(() => store.get("key"), HoldfastError);
    const bulk = await assertRejects(() => store.getMany(["key"]), HoldfastError);
    return [write, read, bulk].map(({ code, retryable, ambiguous }) => [code, retryable, ambiguous]);
  };
  assertEquals(await outcomes("KV PUT failed: 503 Service Unavailable"), [
    ["backend-unavailable", true, true],
    ["backend-unavailable", true, false],
    ["backend-unavailable", true, false],
  ]);
  assertEquals(await outcomes("KV PUT failed: 413 Value length exceeds limit"), [
    ["value-too-large", false, false],
    ["value-too-large", false, false],
    ["value-too-large", false, false],
  ]);
  // The status counts where the runtime writes it, and nowhere else.
  assertEquals(await outcomes("Network connection lost: 429, KV PUT failed: 401"), [
    ["backend-unavailable", true, true],
    ["backend-unavailable", true, false],
    ["backend-unavailable", true, false],
  ]);
});

Deno.test("workersKvStore(): a call without a reply is a timeout", async () => {
  const never = () => new Promise<never>(() => {});
  const store = workersKvStore({ getWithMetadata: never, put: never, delete: never, list: never }, {
    timeout: 20,
  });
  const error = await assertRejects(() => store.set("key", 1), HoldfastError);
  assertEquals([error.code, error.retryable, error.ambiguous], ["timeout", true, true]);
});

Deno.test("workersKvStore() refuses an invalid binding, a long prefix, a cacheTtl below 30 seconds, an unknown option", () => {
  const kv = failing("");
  assertThrows(() => workersKvStore({} as KvNamespace), TypeError);
  assertThrows(() => workersKvStore(kv, { cacheTTL: "1m" } as never), TypeError);
  assertThrows(() => workersKvStore(kv, { cacheTtl: "29s" }), RangeError);
  assertThrows(() => workersKvStore(kv, { cacheTtl: 0 }), RangeError);
  assertThrows(() => workersKvStore(kv, { prefix: "x".repeat(512) }), RangeError);
});

workerdTest("Workers KV", async (t) => {
  await using worker = await startWorkerd({ entry: new URL("kv_worker.ts", import.meta.url), kv: ["CACHE"] });
  // deno-lint-ignore no-explicit-any
  const probe = async (name: string): Promise<any> => {
    const response = await worker.fetch(`/${name}`);
    if (!response.ok) throw new Error(await response.text());
    return await response.json();
  };

  await t.step("operations are counted: one each, and a read before what must answer whether", async () => {
    assertEquals(await probe("costs"), {
      "set": "1 put",
      "get": "1 getWithMetadata",
      "exists": "1 getWithMetadata",
      "touch": "1 getWithMetadata, 1 put",
      "delete": "1 getWithMetadata, 1 delete",
      "setMany of 250": "250 put",
      "getMany of 250, each twice": "3 getWithMetadata",
      "listPage": "1 list",
    });
  });

  await t.step(
    "a deadline is exact on read, native expiry comes later and never under its floor",
    async () => {
      const { native, longest, read } = await probe("deadlines");
      assertEquals(read, [null, 1, 1]);
      assertEquals(native["deadlines:ever"], null);
      assert(native["deadlines:short"] >= 60 && native["deadlines:short"] <= 62);
      assert(native["deadlines:long"] >= 91 && native["deadlines:long"] <= 93);
      assert(longest <= 1024);
    },
  );

  await t.step("an empty page is not the end", async () => {
    assertEquals(await probe("emptyPages"), {
      first: [0, true],
      all: ["b"],
      cleared: { deleted: 1, done: true },
    });
  });

  await t.step("keys of 512 bytes and values of 25 MiB fit, a byte more is a typed error", async () => {
    const { back, bulk, namespaced, ...faults } = await probe("limits");
    assertEquals([back, bulk, namespaced], [true, [true, true], "no fault: undefined"]);
    const names = Object.fromEntries(
      Object.entries(faults as Record<string, { name: string; code?: string }>)
        .map(([what, { name, code }]) => [what, code ?? name]),
    );
    assertEquals(names, {
      longKey: "RangeError",
      wideKey: "RangeError",
      tooLong: "RangeError",
      large: "value-too-large",
      wide: "value-too-large",
    });
  });

  await t.step("sessions live here for who says that eventual will do", async () => {
    assertEquals(await probe("sessions"), { lazy: 0, found: ["dark", "ada"], after: [null, null] });
  });

  await t.step("a deadline beyond 68 years is kept, although native expiry cannot hold it", async () => {
    assertEquals(await probe("farDeadlines"), { read: [1, 1], native: [true, false] });
  });
  await t.step("a cache is the weaker one: one fill an isolate, no tags", async () => {
    const { refused, ...found } = await probe("weakCache");
    assertEquals(found, {
      together: [1],
      puts: 1,
      hit: 1,
      hitCost: ["getWithMetadata"],
      after: 2,
      absent: true,
      state: "absent",
      faults: [],
      weak: true,
    });
    assertEquals(refused.name, "TypeError");
  });

  await t.step("a cacheTtl of 30 seconds is accepted", async () => {
    assertEquals(await probe("cacheTtl"), 1);
  });
});

const NODE_SCENARIO = `
import { Miniflare } from "miniflare";
import { workersKvStore } from "./kv_store.mjs";
const running = new Miniflare({
  modules: true,
  script: "export default { fetch: () => new Response() };",
  kvNamespaces: ["CACHE"],
  compatibilityDate: "2026-07-01",
  cf: false,
});
const store = workersKvStore(await running.getKVNamespace("CACHE"));
await store.set("key", "x".repeat(1_000_000));
const first = await store.delete("key");
await new Promise((resolve) => setTimeout(resolve, 300));
console.log(first, await store.delete("key"), await store.get("key"));
await running.dispose();
`;

/** A Node process that uses the binding through miniflare, as `wrangler dev` and tests of an app do. */
Deno.test({
  name: "workersKvStore(): delete() through miniflare in a Node process does not end it",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const folder = new URL("../../.cache/", import.meta.url);
    await Deno.mkdir(folder, { recursive: true });
    const { code } = await bundle({ entry: new URL("../../adapters/workers_kv/mod.ts", import.meta.url) });
    await Deno.writeTextFile(new URL("kv_store.mjs", folder), code);
    const script = new URL("kv_node_scenario.mjs", folder);
    await Deno.writeTextFile(script, NODE_SCENARIO);
    const node = new Deno.Command("node", { args: [script.pathname] });
    const { success, stdout, stderr } = await node.output();
    const text = new TextDecoder();
    assertEquals([text.decode(stdout).trim(), success], ["true false undefined", true], text.decode(stderr));
  },
});
