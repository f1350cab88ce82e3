/** The cost of idempotency and throttles at the wire, beside their peers'. */
import { Ratelimit } from "@upstash/ratelimit";
import { Redis } from "@upstash/redis";
import { Hono } from "hono";
import { type Claim, createIdempotency, createThrottle } from "@holdfast/edge";
import { idempotency, throttle } from "@holdfast/edge/hono";
import { upstashStore } from "@holdfast/edge/upstash";
import { ThreeTripIdempotency } from "../../bench/three_trips.ts";
import { assertEquals } from "../support/assert.ts";
import { startRedis } from "../support/redis_server.ts";
import { startUpstash } from "../support/upstash_server.ts";

Deno.test({
  name: "Upstash: begin 1, complete 1, replay 1, check 1 for any number of policies; peers beside",
  sanitizeOps: false, // the SDK keeps sockets
  sanitizeResources: false,
  async fn() {
    await using redis = await startRedis();
    await using upstash = await startUpstash(redis.port);
    const { url, token } = upstash;
    const costs: Record<string, number> = {};
    /** Everything twice: the first time teaches the server its scripts. */
    const cost = async (what: string, work: (round: string) => Promise<unknown>) => {
      await work("warm");
      upstash.requests();
      await work("counted");
      costs[what] = upstash.requests().length;
    };

    const store = upstashStore({ url, token });
    const keys = createIdempotency(store);
    const claims: Record<string, Claim> = {};
    await cost("begin", async (round) => {
      const begun = await keys.begin(round);
      if (begun.state === "new") claims[round] = begun.claim;
    });
    await cost("in progress", (round) => keys.begin(round));
    await cost("mismatch", (round) => keys.begin(round, { fingerprint: "other" }));
    await cost("extend", (round) => keys.extend(claims[round]!));
    await cost("complete", (round) => keys.complete(claims[round]!, { receipt: 1 }));
    await cost("replay", (round) => keys.begin(round));
    await cost("run, begin to end", (round) => keys.run(`run-${round}`, () => 1));
    const app = new Hono();
    app.post("/", idempotency({ store, scope: "public" }), (c) => c.text("done"));
    app.get(
      "/",
      throttle({ store, name: "api", limit: 100, window: "1m", key: () => "k", timeout: "1m" }),
      (c) => c.text("served"),
    );
    const post = async (round: string) =>
      await app.request("/", { method: "POST", headers: { "idempotency-key": `k-${round}` } });
    await cost("a request with a key", post);
    await cost("its replay", post);
    await cost("a throttled request", async () => await app.request("/"));

    const policy = (i: number) => ({ name: `p${i}`, limit: 100, window: "1m" } as const);
    for (const n of [1, 2, 5]) {
      const policies = Array.from({ length: n }, (_, i) => policy(i));
      const mine = createThrottle(store, {
        name: `of ${n}`,
        policies,
        whenUnavailable: "throw",
        timeout: "1m",
      });
      await cost(`check, ${n} ${n === 1 ? "policy" : "policies"}`, () => mine.check(`${n}`));
    }
    const one = createThrottle(store, {
      timeout: "1m",
      name: "one",
      limit: 1,
      window: "1m",
      denyCache: "1s",
      whenUnavailable: "throw",
    });
    await cost("peek", () => one.peek("one"));
    await cost("refund", () => one.refund("one", 1));
    await cost("block", () => one.block("blocked", "1m"));
    await one.check("one");
    await one.check("one");
    await cost("a denial remembered", () => one.check("one"));

    const sdk = new Redis({ url, token, enableTelemetry: false });
    const peer = new ThreeTripIdempotency(sdk);
    await cost("three trips: begin", (round) => peer.begin(`peer-${round}`));
    await cost("three trips: complete", (round) => peer.complete(`peer-${round}`, { receipt: 1 }));
    await cost("three trips: replay", (round) => peer.begin(`peer-${round}`));
    const limiter = (prefix: string) =>
      new Ratelimit({
        redis: sdk,
        limiter: Ratelimit.slidingWindow(100, "60 s"),
        prefix,
        ephemeralCache: false,
        analytics: false,
      });
    const [first, second] = [limiter("first"), limiter("second")];
    await cost("@upstash/ratelimit: limit", () => first.limit("k"));
    await cost("@upstash/ratelimit: two policies", async () => {
      if ((await first.limit("k")).success) await second.limit("k");
    });

    assertEquals(costs, {
      "begin": 1,
      "in progress": 1,
      "mismatch": 1,
      "extend": 1,
      "complete": 1,
      "replay": 1,
      "run, begin to end": 2,
      "a request with a key": 2,
      "its replay": 1,
      "a throttled request": 1,
      "check, 1 policy": 1,
      "check, 2 policies": 1,
      "check, 5 policies": 1,
      "peek": 1,
      "refund": 1,
      "block": 1,
      "a denial remembered": 0,
      "three trips: begin": 1,
      "three trips: complete": 2,
      "three trips: replay": 2,
      "@upstash/ratelimit: limit": 1,
      "@upstash/ratelimit: two policies": 2,
    });
  },
});
