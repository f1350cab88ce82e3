/** The work that a queue of separate processes costs Redis, told by Redis itself. */
import { createLocks, type Lock } from "@holdfast/edge";
import { upstashStore } from "@holdfast/edge/upstash";
import { assert, assertEquals } from "../support/assert.ts";
import { ownProcess } from "../support/own_process.ts";
import { startRedis } from "../support/redis_server.ts";
import { report } from "../support/report.ts";
import { RespConnection } from "../support/resp.ts";
import { startUpstash } from "../support/upstash_server.ts";

const HAND_OVERS = 40;

interface Work {
  /** Microseconds that Redis worked, per hand-over. */
  readonly microseconds: number;
  /** Of these, without the time that scripts take to begin: records read whole, per hand-over. */
  readonly wholeReads: number;
  readonly scripts: number;
  /** Milliseconds between two hand-overs. */
  readonly interval: number;
}

/** The commands at Redis per hand-over while `waiters` processes queue; each that was served queues again. */
async function handOvers(waiters: number): Promise<Work> {
  await using redis = await startRedis();
  await using upstash = await startUpstash(redis.port);
  const connection = await RespConnection.open(redis.port);
  const locks = () => createLocks(ownProcess(upstashStore(upstash)));
  const stats = async () => {
    const text = new TextDecoder().decode((await connection.send(["INFO", "commandstats"]))[0] as Uint8Array);
    const of = (command: string, figure: string) =>
      Number(new RegExp(`cmdstat_${command}:.*?\\b${figure}=(\\d+)`).exec(text)?.[1] ?? 0);
    return { usec: of("evalsha", "usec"), calls: of("evalsha", "calls"), whole: of("hgetall", "calls") };
  };
  const stop = new AbortController();
  let served = 0;
  let begin = Promise.withResolvers<void>();
  const done = Promise.withResolvers<void>();
  const order: number[] = [];
  async function client(i: number) {
    const mine = locks();
    while (!stop.signal.aborted) {
      const lock: Lock | undefined = await mine.acquire("key", {
        ttl: "1m",
        wait: "5m",
        fair: true,
        signal: stop.signal,
      });
      order.push(i);
      if (++served === 5) begin.resolve();
      if (served === 5 + HAND_OVERS) done.resolve();
      await lock!.release();
    }
  }
  const first = await locks().acquire("key", { ttl: "1m" });
  const clients = Array.from({ length: waiters }, (_, i) => client(i).catch(() => {}));
  while ((await locks().inspect("key")).waiting < waiters) await new Promise((go) => setTimeout(go, 20));
  await first!.release();
  await begin.promise;
  begin = Promise.withResolvers();
  const before = await stats();
  const since = performance.now();
  await done.promise;
  const after = await stats();
  const interval = (performance.now() - since) / HAND_OVERS;
  stop.abort(new Error("enough"));
  await Promise.all(clients);
  await new Promise((go) => setTimeout(go, 300));
  connection.close();
  if (waiters > HAND_OVERS) {
    assertEquals(new Set(order.slice(0, HAND_OVERS)).size, HAND_OVERS, "each in turn");
  }
  return {
    interval,
    microseconds: (after.usec - before.usec) / HAND_OVERS,
    scripts: (after.calls - before.calls) / HAND_OVERS,
    wholeReads: (after.whole - before.whole) / HAND_OVERS,
  };
}

/** The most looks of that many waiters in a second: each sleeps in proportion to its place, and a fifth less at times. */
function looksPerSecond(waiters: number): number {
  let looks = 0;
  for (let ahead = 1; ahead <= waiters; ahead++) {
    looks += 1000 / (0.8 * Math.min(5000, Math.max(250, ahead * 100)));
  }
  return looks;
}

Deno.test({
  name:
    "Upstash: a hand-over reads no record whole, and costs at most three times the calls with 256 queued processes as with 16",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const work = new Map<number, Work>();
    for (const waiters of [1, 16, 64, 256]) {
      const found = await handOvers(waiters);
      work.set(waiters, found);
      report(
        `${waiters} processes in a queue: ${found.microseconds.toFixed(0)} µs of Redis per hand-over, ${
          found.scripts.toFixed(1)
        } calls, ${found.wholeReads.toFixed(2)} whole reads, ${found.interval.toFixed(0)} ms, ${
          (found.microseconds / found.interval / 10).toFixed(2)
        } % of its thread`,
      );
    }
    const [few, many] = [work.get(16)!, work.get(256)!];
    // A record is read whole when a lease or the first ticket ends by itself, at no usual hand-over: one takes
    // milliseconds with 256 waiters.
    assert(many.wholeReads < 0.1, `${many.wholeReads} records are read whole per hand-over`);
    // Each waiter looks about log n times, and every five seconds beyond place 50. A machine on which a hand-over takes
    // long sees more looks between two, as they come with time.
    const looks = looksPerSecond(256) * many.interval / 1000;
    assert(
      many.scripts < Math.max(few.scripts * 3, looks) + 5,
      `${many.scripts} calls with 256, ${few.scripts} with 16`,
    );
  },
});
