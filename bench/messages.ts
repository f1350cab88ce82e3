/**
 * Bytes of whole messages per operation, HTTP headers included, beside `@upstash/redis`, `@upstash/ratelimit` and
 * `@upstash/lock`: `deno run -A bench/messages.ts`. They are counted on a TCP connection between the client and the endpoint.
 * The peers' messages are those of their defaults, and once more without the telemetry that they send by default.
 */
import { type AddressInfo, createConnection, createServer } from "node:net";
import { Lock as UpstashLock } from "@upstash/lock";
import { Ratelimit } from "@upstash/ratelimit";
import { Redis } from "@upstash/redis";
import { createLocks, createThrottle, type Lock, type ThrottlePolicy } from "@holdfast/edge";
import { upstashStore } from "@holdfast/edge/upstash";
import { startRedis } from "../tests/support/redis_server.ts";
import { startUpstash } from "../tests/support/upstash_server.ts";

/** Bytes that went up and down. */
export interface Bytes {
  readonly request: number;
  readonly reply: number;
}

/** An operation of ours and the same one of a peer, with the bytes of each. */
export interface MessageLine {
  readonly operation: string;
  readonly ours: Bytes;
  readonly peer: string;
  readonly peers: Bytes;
  /** The peer's without its telemetry. */
  readonly bare: Bytes;
}

/** A TCP port that passes everything on to another one, and counts. */
async function startTap(port: number): Promise<{ url: string; read(): Bytes } & AsyncDisposable> {
  let counted = { request: 0, reply: 0 };
  const server = createServer((near) => {
    const far = createConnection(port, "127.0.0.1");
    near.on("data", (chunk) => counted.request += chunk.length).pipe(far);
    far.on("data", (chunk) => counted.reply += chunk.length).pipe(near);
    for (const [one, other] of [[near, far], [far, near]] as const) {
      one.on("error", () => other.destroy()).on("close", () => other.destroy());
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    read() {
      const { request, reply } = counted;
      counted = { request: 0, reply: 0 };
      return { request, reply };
    },
    [Symbol.asyncDispose]() {
      server.close();
      return Promise.resolve();
    },
  };
}

type Work = (round: string) => Promise<unknown>;

const VALUE = "a value of some length";
const LIMIT = 1_000_000;

/** Our operations; keys are as long as the peers'. */
function ourCalls(connection: { url: string; token: string }): Record<string, Work> {
  const store = upstashStore(connection, { prefix: "h" });
  const locks = createLocks(store);
  const held = new Map<string, Lock>();
  const throttle = (algorithm: ThrottlePolicy["algorithm"]): Work => {
    const gate = createThrottle(store, {
      name: "api",
      limit: LIMIT,
      window: "1h",
      algorithm,
      whenUnavailable: "throw",
    });
    return () => gate.check("ada");
  };
  return {
    "set": () => store.set("plain", VALUE),
    "get": () => store.get("plain"),
    "set, with a ttl": () => store.set("timed", VALUE, { ttl: "1h" }),
    "increment": () => store.increment("count"),
    "throttle, fixed window": throttle("fixed-window"),
    "throttle, sliding window": throttle("sliding-window"),
    "throttle, gcra": throttle("gcra"),
    "lock, acquire": async (round) => held.set(round, (await locks.acquire(round, { ttl: "1m" }))!),
    "lock, release": (round) => held.get(round)!.release(),
  };
}

/** The same operations of the peers, in the same order: `peer: operation`. */
function peerCalls(
  connection: { url: string; token: string },
  enableTelemetry: boolean,
): Record<string, Work> {
  const redis = new Redis({ ...connection, enableTelemetry });
  const held = new Map<string, UpstashLock>();
  const ratelimit = (name: string, limiter: ReturnType<typeof Ratelimit.fixedWindow>): Work => {
    const gate = new Ratelimit({ redis, limiter, prefix: `h:${name}`, ephemeralCache: false });
    return () => gate.limit("ada");
  };
  return {
    "@upstash/redis set": () => redis.set("h:plain2", VALUE),
    "@upstash/redis get": () => redis.get("h:plain2"),
    "@upstash/redis set px": () => redis.set("h:timed2", VALUE, { px: 3_600_000 }),
    "@upstash/redis incr": () => redis.incr("h:count2"),
    "@upstash/ratelimit fixedWindow": ratelimit("api", Ratelimit.fixedWindow(LIMIT, "1 h")),
    "@upstash/ratelimit slidingWindow": ratelimit("apj", Ratelimit.slidingWindow(LIMIT, "1 h")),
    "@upstash/ratelimit tokenBucket": ratelimit("apk", Ratelimit.tokenBucket(LIMIT, "1 h", LIMIT)),
    "@upstash/lock acquire": async (round) => {
      const lock = new UpstashLock({ id: `lock:${round}`, redis: redis as never, lease: 60_000 });
      await lock.acquire();
      held.set(round, lock);
    },
    "@upstash/lock release": (round) => held.get(round)!.release(),
  };
}

/** Measures every operation. Each runs twice before it counts: the server knows the scripts then. */
export async function measureMessages(): Promise<MessageLine[]> {
  await using redis = await startRedis();
  await using endpoint = await startUpstash(redis.port);
  await using tap = await startTap(Number(new URL(endpoint.url).port));
  const connection = { url: tap.url, token: endpoint.token };
  const measured = async (calls: Record<string, Work>): Promise<[string, Bytes][]> => {
    const all: [string, Bytes][] = [];
    for (const round of ["a", "b", "c"]) {
      all.length = 0;
      for (const [name, call] of Object.entries(calls)) {
        tap.read();
        await call(round);
        all.push([name, tap.read()]);
      }
    }
    return all;
  };
  const ours = await measured(ourCalls(connection));
  const peers = await measured(peerCalls(connection, true));
  await redis.send("FLUSHALL");
  const bare = await measured(peerCalls(connection, false));
  return ours.map(([operation, bytes], i) => ({
    operation,
    ours: bytes,
    peer: peers[i]![0],
    peers: peers[i]![1],
    bare: bare[i]![1],
  }));
}

/** Bytes in both directions. */
export const sum = ({ request, reply }: Bytes): number => request + reply;

/** The table. */
export function messagesTable(lines: readonly MessageLine[]): string {
  const shown = (bytes: Bytes) => `${bytes.request} + ${bytes.reply} = ${sum(bytes)}`;
  const rows = lines.map(({ operation, ours, peer, peers, bare }) =>
    `| ${operation} | ${shown(ours)} | ${peer}: ${shown(peers)} | ${sum(bare)} |`
  );
  return [
    "| operation | request + reply, bytes | peer | peer, no telemetry |",
    "| --- | --: | --: | --: |",
    ...rows,
  ].join("\n");
}

if (import.meta.main) {
  // deno-lint-ignore no-console
  console.log(messagesTable(await measureMessages()));
  Deno.exit(0); // the SDK keeps sockets
}
