/** A store that carries the scripts of some contracts alone. */
import { createLocks, createThrottle } from "@holdfast/edge";
import { createUpstashStore, throttleScripts, upstashStore, valuesScripts } from "@holdfast/edge/upstash";
import { bundle } from "../support/bundle.ts";
import { assert, assertEquals, assertThrows } from "../support/assert.ts";
import { startRedis } from "../support/redis_server.ts";
import { startUpstash } from "../support/upstash_server.ts";

Deno.test("Upstash: with the scripts of throttles alone a throttle takes one request, and a lock works in two", async () => {
  await using redis = await startRedis();
  await using server = await startUpstash(redis.port);
  const lean = createUpstashStore(server, { scripts: [throttleScripts] });
  const whole = upstashStore(server);
  const throttle = createThrottle(lean, { name: "api", limit: 3, window: "1h", timeout: "1m" });
  await throttle.check("ada"); // the server learns the script
  server.requests(); // looking forgets
  assertEquals((await throttle.check("ada")).remaining, 1);
  assertEquals(server.requests().length, 1);
  // Both kinds of stores keep the same records.
  assertEquals(
    (await createThrottle(whole, { name: "api", limit: 3, window: "1h", timeout: "1m" }).check("ada"))
      .remaining,
    0,
  );
  const lock = await createLocks(lean).acquire("key", { ttl: "1m" });
  assertEquals(await createLocks(whole).acquire("key", { ttl: "1m" }), undefined);
  server.requests();
  assert(await lock!.release());
  const requests = server.requests().length;
  assert(requests >= 2 && requests <= 4, `${requests} requests`); // two may be scripts that the server learns
});

Deno.test("Upstash: an invalid list of scripts is refused", () => {
  const connection = { url: "https://example.upstash.io", token: "secret" };
  for (const scripts of [undefined, null, {}, "all", [undefined], [{}], [{ scripts: {} }]]) {
    assertThrows(() => createUpstashStore(connection, { scripts: scripts as never }), TypeError);
    if (scripts !== undefined) {
      assertThrows(() => upstashStore(connection, { scripts: scripts as never }), TypeError);
    }
  }
});

Deno.test("Upstash: a lean store takes a connection alone, and names what it does not take", () => {
  const connection = { url: "https://example.upstash.io", token: "secret" };
  const wrong: unknown[] = [
    undefined,
    null,
    "https://example.upstash.io",
    { evalsha: () => {}, eval: () => {} }, // a client: createRedisStore() takes it
    { ...connection, prefix: "shop" },
  ];
  for (const given of wrong) {
    assertThrows(() => createUpstashStore(given as never, { scripts: [] }), TypeError);
  }
  const options = { scripts: [], virtualTime: () => 0 };
  assertThrows(() => createUpstashStore(connection, options as never), TypeError);
  assertThrows(() => upstashStore({ ...connection, prefix: "shop" } as never), TypeError);
});

Deno.test({
  name:
    "bundle: a lean store over HTTP carries nothing of clusters, clients and tests, a lean one over a client no HTTP",
  sanitizeOps: false, // esbuild is a process of its own
  sanitizeResources: false,
  async fn() {
    const code = async (script: string) => (await bundle({ script, minify: true })).code;
    const http = await code(`export { createUpstashStore } from "@holdfast/edge/upstash";`);
    const client = await code(`export { createRedisStore } from "@holdfast/edge/redis";`);
    const whole = await code(`export { upstashStore } from "@holdfast/edge/upstash";`);
    const passages = {
      cluster: "'SLOTS'",
      clients: "evalSha",
      tests: "server.pcall",
      http: "upstash-sync-token",
    };
    const carried = (text: string) =>
      Object.entries(passages).filter(([, passage]) => text.includes(passage)).map(([name]) => name);
    assertEquals(carried(http), ["http"]);
    assertEquals(carried(client), ["cluster", "clients"]);
    assertEquals(carried(whole), ["cluster", "clients", "tests", "http"]);
    for (const lean of [http, client]) assert(!lean.includes("lock.acquire"));
  },
});

Deno.test({
  name: "bundle: an app with throttles alone carries no script of another contract",
  sanitizeOps: false, // esbuild is a process of its own
  sanitizeResources: false,
  async fn() {
    const script = (names: string) =>
      `export { createUpstashStore, ${names} } from "@holdfast/edge/upstash";`;
    const { code } = await bundle({ script: script("throttleScripts"), minify: true });
    for (const name of Object.keys(throttleScripts.scripts)) assert(code.includes(name), name);
    const others = ["lock.acquire", "session.load", "outbox.claim", "cache.read"];
    assertEquals(others.filter((name) => code.includes(name)), []);
    // The names of the values' transitions are in the store itself: their Lua is told by its text.
    assert(!code.includes(valuesScripts.scripts["value.increment"]!.lua.slice(0, 40)));
  },
});
