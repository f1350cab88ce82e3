/**
 * Idempotency and throttles beside their peers on one REST endpoint, in one run: `deno task bench:calls`.
 * Requests and bytes are counted at the client, latency goes through a proxy of 5 ms, throughput is 64
 * callers at once. Ratios count, not the figures: contenders take turns, and the median of the rounds is
 * printed.
 */
import { Ratelimit } from "@upstash/ratelimit";
import { Redis } from "@upstash/redis";
import { Hono } from "hono";
import { rateLimiter, RedisStore } from "hono-rate-limiter";
import { createIdempotency, createThrottle, type ThrottlePolicy } from "@holdfast/edge";
import { throttle } from "@holdfast/edge/hono";
import { upstashStore } from "@holdfast/edge/upstash";
import { Random } from "../tests/support/random.ts";
import { startRedis } from "../tests/support/redis_server.ts";
import { startUpstash } from "../tests/support/upstash_server.ts";
import { ThreeTripIdempotency } from "./three_trips.ts";

const ROUNDS = Number(Deno.env.get("ROUNDS") ?? 15);
const OPS = Number(Deno.env.get("OPS") ?? 4000);
const SAMPLES = Number(Deno.env.get("SAMPLES") ?? 150);
const WAYS = 64;
const DELAY = 5;

const redis = await startRedis();
const server = await startUpstash(redis.port);
const { url, token } = server;
const store = upstashStore({ url, token });
const sdk = new Redis({ url, token, enableTelemetry: false });

const print = (...cells: (string | number)[]) => {
  const [name, ...rest] = cells;
  // deno-lint-ignore no-console
  console.log(
    String(name).padEnd(42),
    ...rest.map((cell) => (typeof cell === "number" ? cell.toFixed(2) : cell).padStart(10)),
  );
};
const median = (of: number[]) => of.toSorted((a, b) => a - b)[of.length >> 1]!;
const at = (of: number[], part: number) => of.toSorted((a, b) => a - b)[Math.floor((of.length - 1) * part)]!;

/** One way to do an operation; `n` makes what it is done to. */
interface Contender {
  readonly name: string;
  run(n: number): Promise<unknown>;
}

const policy = { limit: 100, window: "60s" } as const;
const two: readonly ThrottlePolicy[] = [
  { name: "minute", limit: 100, window: "60s" },
  { name: "day", limit: 1000, window: "1d", algorithm: "sliding-window" },
];
const user = (n: number) => `user:${n % 2000}`; // so many that all are admitted
const keys = createIdempotency(store);
const old = new ThreeTripIdempotency(sdk);
const strict = { whenUnavailable: "throw" } as const;
const gcra = createThrottle(store, { ...policy, ...strict, name: "gcra" });
const fixed = createThrottle(store, { ...policy, ...strict, name: "fixed", algorithm: "fixed-window" });
const sliding = createThrottle(store, { ...policy, ...strict, name: "sliding", algorithm: "sliding-window" });
const both = createThrottle(store, { policies: two, ...strict, name: "two" });
const overSdk = createThrottle(upstashStore(sdk, { prefix: "sdk:" }), { ...policy, ...strict, name: "sdk" });
const limit = (limiter: ConstructorParameters<typeof Ratelimit>[0]["limiter"], prefix: string) =>
  new Ratelimit({ redis: sdk, limiter, prefix, ephemeralCache: false, analytics: false });
const peerFixed = limit(Ratelimit.fixedWindow(100, "60 s"), "rf");
const peerSliding = limit(Ratelimit.slidingWindow(100, "60 s"), "rs");
const peerBucket = limit(Ratelimit.tokenBucket(100, "60 s", 100), "rb");
const peerDay = limit(Ratelimit.slidingWindow(1000, "1 d"), "rd");

const mine = new Hono().use(
  throttle({ store, ...policy, ...strict, name: "hono", key: (c) => c.req.header("user")! }),
).get("/", (c) => c.text("served"));
const theirs = new Hono().use(rateLimiter({
  windowMs: 60_000,
  limit: 100,
  keyGenerator: (c) => c.req.header("user")!,
  // deno-lint-ignore no-explicit-any
  store: new RedisStore({ client: sdk as any }) as any,
})).get("/", (c) => c.text("served"));
const ask = async (app: Pick<Hono, "request">, n: number) => {
  const response = await app.request("/", { headers: { user: user(n) } });
  if (response.status !== 200 && response.status !== 429) throw new Error(`status ${response.status}`);
};

const RESPONSE = {
  status: 201,
  headers: [["content-type", "application/json"]],
  body: '{"charged":4200,"id":"ch_17"}',
};
let unique = 0;
const fresh = () => `order:${unique++}`;

/** The same task in each package; ours comes first. */
const groups: Record<string, readonly Contender[]> = {
  "idempotency: begin + complete": [
    {
      name: "holdfast",
      async run() {
        const begun = await keys.begin(fresh());
        if (begun.state !== "new") throw new Error(begun.state);
        await keys.complete(begun.claim, RESPONSE);
      },
    },
    {
      name: "three trips (klauthed)",
      async run() {
        const key = fresh();
        if ((await old.begin(key)).state !== "new") throw new Error("not new");
        await old.complete(key, RESPONSE);
      },
    },
  ],
  "idempotency: replay": [
    {
      name: "holdfast",
      run: async (n) => {
        if ((await keys.begin(`done:${n % 50}`)).state !== "completed") throw new Error("not completed");
      },
    },
    {
      name: "three trips (klauthed)",
      run: async (n) => {
        if ((await old.begin(`olddone:${n % 50}`)).state !== "completed") throw new Error("not completed");
      },
    },
  ],
  "throttle: check": [
    { name: "holdfast, gcra", run: (n) => gcra.check(user(n)) },
    { name: "holdfast, fixed window", run: (n) => fixed.check(user(n)) },
    { name: "holdfast, sliding window", run: (n) => sliding.check(user(n)) },
    { name: "holdfast, gcra over @upstash/redis", run: (n) => overSdk.check(user(n)) },
    { name: "@upstash/ratelimit, fixed window", run: (n) => peerFixed.limit(user(n)) },
    { name: "@upstash/ratelimit, sliding window", run: (n) => peerSliding.limit(user(n)) },
    { name: "@upstash/ratelimit, token bucket", run: (n) => peerBucket.limit(user(n)) },
  ],
  "throttle: two policies": [
    { name: "holdfast", run: (n) => both.check(user(n)) },
    {
      name: "@upstash/ratelimit, twice",
      run: async (n) => {
        if ((await peerSliding.limit(user(n))).success) await peerDay.limit(user(n));
      },
    },
  ],
  "throttle: a request through Hono": [
    { name: "holdfast", run: (n) => ask(mine, n) },
    { name: "hono-rate-limiter", run: (n) => ask(theirs, n) },
  ],
};
for (let n = 0; n < 50; n++) {
  const begun = await keys.begin(`done:${n}`);
  if (begun.state === "new") await keys.complete(begun.claim, RESPONSE);
  await old.begin(`olddone:${n}`);
  await old.complete(`olddone:${n}`, RESPONSE);
}

/** Requests and bytes of one operation, counted at fetch: path, body and the answer's body. */
async function wire({ run }: Contender): Promise<{ requests: number; sent: number; got: number }> {
  for (let n = 0; n < 5; n++) await run(n); // scripts are known from here on
  const real = globalThis.fetch;
  const count = { requests: 0, sent: 0, got: 0 };
  const encoder = new TextEncoder();
  globalThis.fetch = async (input, init) => {
    const response = await real(input, init);
    const text = await response.clone().text();
    count.requests++;
    count.sent += encoder.encode(String(init?.body ?? "")).length + new URL(String(input)).pathname.length;
    count.got += encoder.encode(text).length;
    return response;
  };
  const times = 20;
  try {
    for (let n = 0; n < times; n++) await run(n);
  } finally {
    globalThis.fetch = real;
  }
  return { requests: count.requests / times, sent: count.sent / times, got: count.got / times };
}

/** Milliseconds of an operation, and of the bare trip just before it: the machine's other work meets both. */
async function latency({ run }: Contender): Promise<{ times: number[]; trips: number[] }> {
  const [times, trips]: [number[], number[]] = [[], []];
  for (let n = 0; n < SAMPLES / ROUNDS; n++) {
    const began = performance.now();
    await trip();
    const between = performance.now();
    await run(n);
    times.push(performance.now() - between);
    trips.push(between - began);
  }
  return { times, trips };
}

/** Operations a second, 64 callers at once. */
async function throughput({ run }: Contender): Promise<number> {
  let n = 0;
  const began = performance.now();
  await Promise.all(Array.from({ length: WAYS }, async () => {
    while (n < OPS) await run(n++);
  }));
  return OPS / (performance.now() - began) * 1000;
}

/** The bare trip through the proxy: the lower bound. */
const trip = async () => {
  const response = await fetch(url, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
    body: '["PING"]',
  });
  await response.text();
};

/** The measurements of one. */
interface Result {
  readonly wire: Awaited<ReturnType<typeof wire>>;
  readonly times: number[];
  readonly trips: number[];
  readonly ops: number[];
}
const results = new Map<Contender, Result>();
const all = Object.values(groups).flat();
for (const contender of all) {
  results.set(contender, { wire: await wire(contender), times: [], trips: [], ops: [] });
}
for (let round = 0; round <= ROUNDS; round++) {
  const order = round % 2 === 0 ? all : all.toReversed();
  server.fault = () => ({ delay: DELAY });
  for (const contender of order) {
    const { times, trips } = await latency(contender);
    if (round === 0) continue; // warms up
    results.get(contender)!.times.push(...times);
    results.get(contender)!.trips.push(...trips);
  }
  server.fault = undefined;
  for (const contender of order) {
    const ops = await throughput(contender);
    if (round > 0) results.get(contender)!.ops.push(ops);
    server.requests(); // the log forgets
  }
}

const bare = [...results.values()].flatMap(({ trips }) => trips);
print(`one trip through the ${DELAY} ms proxy`, "", "", "", median(bare), at(bare, 0.99));
for (const [group, contenders] of Object.entries(groups)) {
  print(
    `\n${group}`.padEnd(43),
    "requests",
    "bytes out",
    "bytes in",
    "p50 ms",
    "p99 ms",
    "÷ trip",
    `ops/s @${WAYS}`,
  );
  for (const contender of contenders) {
    const { wire, times, trips, ops } = results.get(contender)!;
    const p50 = median(times);
    const each = p50 / median(trips) / wire.requests;
    print(
      contender.name,
      wire.requests,
      wire.sent,
      wire.got,
      p50,
      at(times, 0.99),
      each,
      median(ops),
    );
  }
  const [ours, ...others] = contenders.map((contender) => ({ contender, ...results.get(contender)! }));
  for (
    const { contender, wire, ops } of others.filter(({ contender }) => !contender.name.startsWith("holdfast"))
  ) {
    // Rounds are compared with each other, as the machine's other work comes and goes.
    const faster = median(ours!.ops.map((mine, round) => mine / ops[round]!));
    print(
      `holdfast ÷ ${contender.name}`,
      ours!.wire.requests / wire.requests,
      ours!.wire.sent / wire.sent,
      ours!.wire.got / wire.got,
      "",
      "",
      "",
      faster,
    );
  }
}

// The answers when replies are lost, and the cost of a denied call.
const seed = Number(Deno.env.get("SEED") ?? 1);
print("\nverdicts".padEnd(43), "holdfast", "peer");

const peerRedis = new Redis({ url, token, enableTelemetry: false, enableAutoPipelining: false });
const KEYS = 20;
async function executions(run: (key: string, work: () => void) => Promise<unknown>): Promise<string> {
  const random = new Random(seed);
  server.fault = () =>
    random.chance(0.3)
      ? random.pick([{ cut: "before" }, { cut: "after" }, { drop: "after" }] as const)
      : undefined;
  const runs = new Map<string, number>();
  for (let k = 0; k < KEYS; k++) {
    const key = fresh();
    runs.set(key, 0);
    await Promise.allSettled(
      Array.from({ length: 20 }, () => run(key, () => runs.set(key, runs.get(key)! + 1))),
    );
  }
  server.fault = undefined;
  const counts = [...runs.values()];
  const some = (test: (count: number) => boolean) => counts.filter(test).length;
  return `${some((n) => n === 0)} / ${some((n) => n === 1)} / ${some((n) => n > 1)}`;
}
const peerKeys = new ThreeTripIdempotency(peerRedis);
print(
  `${KEYS} keys, 30 % lost: ran never/once/more`,
  await executions((key, work) => keys.run(key, work, { wait: "20s" })),
  await executions(async (key, work) => {
    if ((await peerKeys.begin(key)).state !== "new") return;
    work();
    await peerKeys.complete(key, 1);
  }),
);

/** Units gone after ten calls of cost 8 on a limit of 10, of which one fits. */
const denied = createThrottle(store, { limit: 10, window: "1h", ...strict, name: "denied" });
for (let i = 0; i < 10; i++) await denied.check("k", { cost: 8 });
const peerDenied = limit(Ratelimit.slidingWindow(10, "1 h"), "denied");
for (let i = 0; i < 10; i++) await peerDenied.limit("k", { rate: 8 });
print(
  "units left of 10 after 8, and 9 denied × 8",
  String((await denied.peek("k")).remaining),
  String((await peerDenied.getRemaining("k")).remaining),
);

/** The number of times that a call counts whose reply was lost. */
const once = createThrottle(upstashStore(sdk, { prefix: "once:" }), {
  name: "once",
  limit: 10,
  window: "1h",
  ...strict,
});
const peerOnce = limit(Ratelimit.fixedWindow(10, "1 h"), "once");
await once.check("warm");
await peerOnce.limit("warm");
const loseFirst = () => {
  let lost = 0;
  server.fault = () => lost++ < 2 ? { drop: "after" } : undefined;
};
loseFirst();
await once.check("k").catch(() => {});
server.fault = undefined;
loseFirst();
await peerOnce.limit("k").catch(() => {});
server.fault = undefined;
print(
  "units taken by one call, two replies lost",
  String(10 - (await once.peek("k")).remaining),
  String(10 - (await peerOnce.getRemaining("k")).remaining),
);

await server[Symbol.asyncDispose]();
await redis[Symbol.asyncDispose]();
Deno.exit(0); // the SDK keeps its sockets
