/** Locks over a network that fails: real Redis behind an Upstash endpoint. */
import { Redis } from "@upstash/redis";
import { Lock as PeerLock } from "@upstash/lock";
import { createLocks, HoldfastError, type Locks } from "@holdfast/edge";
import { upstashStore } from "@holdfast/edge/upstash";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";
import { report } from "../support/report.ts";
import { startRedis } from "../support/redis_server.ts";
import { type Fault, startUpstash, type UpstashServer } from "../support/upstash_server.ts";

const quiet = { sanitizeOps: false, sanitizeResources: false };
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

function test(name: string, run: (locks: Locks, upstash: UpstashServer) => Promise<void>): void {
  Deno.test({
    name: `Upstash: ${name}`,
    ...quiet,
    async fn() {
      await using redis = await startRedis();
      await using upstash = await startUpstash(redis.port);
      const { url, token } = upstash;
      const locks = createLocks(upstashStore({ url, token }, { timeout: 1000 }));
      // The scripts are known from here on, as they are in any database that is in use.
      const warm = await locks.acquire("warm", { ttl: 1000 });
      await warm!.extend();
      await warm!.release();
      await locks.inspect("warm");
      upstash.requests();
      await run(locks, upstash);
      upstash.fault = undefined;
    },
  });
}

/** The next requests go wrong like this, one each; undefined is well. */
function faults(upstash: UpstashServer, ...next: (Fault | undefined)[]): void {
  upstash.fault = () => next.shift();
}

test(
  "acquire, extend, release and a refusal are one request each, and a peer's are no fewer",
  async (locks, upstash) => {
    const cost = async (work: () => Promise<unknown>) => {
      upstash.requests();
      await work();
      const requests = upstash.requests();
      return [requests.length, requests.reduce((sum, { bytes }) => sum + bytes, 0)] as const;
    };
    let lock: Awaited<ReturnType<Locks["acquire"]>>;
    const ours = {
      acquire: await cost(async () => lock = await locks.acquire("key", { ttl: 10_000 })),
      refused: await cost(() => locks.acquire("key", { ttl: 10_000 })),
      extend: await cost(() => lock!.extend()),
      release: await cost(() => lock!.release()),
    };
    const { url, token } = upstash;
    const redis = new Redis({ url, token, enableTelemetry: false }) as never;
    const options = { id: "peer", redis, lease: 10_000, retry: { attempts: 1, delay: 0 } };
    const [mine, other] = [new PeerLock(options), new PeerLock(options)];
    const theirs = {
      acquire: await cost(() => mine.acquire()),
      refused: await cost(() => other.acquire()),
      extend: await cost(() => mine.extend(10_000)),
      release: await cost(() => mine.release()),
    };
    const names = ["acquire", "refused", "extend", "release"] as const;
    for (const name of names) {
      const [[requests, bytes], [peerRequests, peerBytes]] = [ours[name], theirs[name]];
      report(
        `${name}: ${requests} request, ${bytes} bytes; @upstash/lock ${peerRequests}, ${peerBytes} bytes`,
      );
      assertEquals(requests, 1, name);
      assert(peerRequests >= 1, name);
    }
    const [all, peers] = [ours, theirs].map((costs) => costs.acquire[1] + costs.release[1]);
    assert(all! <= peers!, `acquire and release take ${all} bytes, @upstash/lock's ${peers}`);
  },
);

test(
  "a lost reply never costs one's own lock: the same owner asks again and has the same grant",
  async (locks, upstash) => {
    for (
      const fault of [{ cut: "after" }, { status: 500, body: "{}", execute: true }, {
        cut: "before",
      }] as Fault[]
    ) {
      upstash.requests();
      faults(upstash, fault, fault);
      const lock = await locks.acquire("key", { ttl: 5000, wait: 2000 });
      const owners = new Set(
        upstash.requests().map(({ command }) => {
          const args = command as string[];
          return args[args.indexOf("owner") + 1];
        }),
      );
      assertEquals(owners.size, 1, "one owner for every try");
      assertEquals(await lock?.release(), "released");
    }
  },
);

test("an acquisition that cannot be confirmed throws, and leaves no lock behind", async (locks, upstash) => {
  faults(upstash, { cut: "after" });
  const error = await assertRejects(() => locks.acquire("key", { ttl: 60_000 }), HoldfastError);
  assertEquals([error.code, error.retryable, error.ambiguous], ["backend-unavailable", true, true]);
  await sleep(100);
  assertEquals((await locks.inspect("key")).held, false);
});

test(
  "an aborted acquisition rejects at once and is released when its reply has come",
  async (locks, upstash) => {
    faults(upstash, { delay: 150 });
    const controller = new AbortController();
    const acquiring = locks.acquire("key", { ttl: 60_000, signal: controller.signal });
    await sleep(30);
    const began = performance.now();
    controller.abort(new Error("enough"));
    assertEquals((await assertRejects(() => acquiring)).message, "enough");
    assert(performance.now() - began < 50, "it does not wait for the reply");
    await sleep(250);
    assertEquals((await locks.inspect("key")).held, false, "the orphaned acquisition is released");
  },
);

test("a holder is told at its deadline although the network hangs", async (locks, upstash) => {
  const lock = (await locks.acquire("key", { ttl: 200, renew: true }))!;
  const began = performance.now();
  upstash.fault = () => ({ delay: 1000 });
  await new Promise((resolve) => lock.signal.addEventListener("abort", resolve));
  const after = performance.now() - began;
  assert(after <= 205, `told after ${after} ms`);
  assertEquals(lock.signal.reason.code, "lock-lost");
  assertEquals(await lock.extend(), false, "lost for good, without I/O");
  upstash.fault = undefined;
  await sleep(1100);
});

test("a grant that arrives after its lease is not a lock", async (locks, upstash) => {
  faults(upstash, { delay: 200 });
  const error = await assertRejects(() => locks.acquire("key", { ttl: 100 }), HoldfastError);
  assertEquals(error.code, "timeout");
  faults(upstash, { delay: 200 });
  const lock = await locks.acquire("key", { ttl: 100, wait: 1000 });
  assert(lock!.remaining > 0, "asked again, it is one");
  await lock!.release();
});

test(
  "release() says what is known: released by a try whose reply was lost, unconfirmed, and repeatable",
  async (locks, upstash) => {
    const lock = (await locks.acquire("key", { ttl: 5000 }))!;
    faults(upstash, { cut: "after" });
    assertEquals(await lock.release(), "released", "the first try did it, the second knows");
    const other = (await locks.acquire("key", { ttl: 5000 }))!;
    upstash.fault = () => ({ cut: "before" });
    assertEquals(await other.release(), "unconfirmed");
    assertEquals(other.signal.aborted, true);
    upstash.fault = undefined;
    assertEquals(await other.release(), "released", "repeated");
  },
);

test(
  "withLock() keeps the result and the error of its body when the release fails",
  async (locks, upstash) => {
    const broken = () => void (upstash.fault = () => ({ cut: "before" }));
    assertEquals(await locks.withLock("a", { ttl: 1000 }, () => (broken(), 7)), 7);
    upstash.fault = undefined;
    const mine = new Error("mine");
    const error = await assertRejects(() =>
      locks.withLock("b", { ttl: 1000 }, () => {
        broken();
        throw mine;
      })
    );
    assertEquals(error, mine);
  },
);

test("timeout, lost, backend and abort have codes of their own", async (locks, upstash) => {
  await using _held = await locks.acquire("key", { ttl: 5000 });
  const code = async (work: () => Promise<unknown>) => {
    const error = await assertRejects(work);
    return error instanceof HoldfastError ? error.code : error.name;
  };
  const brief = (await locks.acquire("brief", { ttl: 20 }))!;
  await sleep(30);
  assertEquals(
    {
      timeout: await code(() => locks.withLock("key", { ttl: 1000, wait: 50 }, () => {})),
      lost: await code(() => Promise.resolve().then(() => brief.assertHeld())),
      abort: await code(() =>
        locks.acquire("key", { ttl: 1000, wait: 1000, signal: AbortSignal.timeout(20) })
      ),
      // Every request, for the one that was aborted above may still be on its way.
      backend: (upstash.fault = () => ({ cut: "before" }),
        await code(() => locks.acquire("other", { ttl: 1000 }))),
    },
    { timeout: "lock-timeout", lost: "lock-lost", abort: "TimeoutError", backend: "backend-unavailable" },
  );
});

test("a wait ends when it should, whatever the backoff", async (locks) => {
  await using _held = await locks.acquire("key", { ttl: 10_000 });
  for (const wait of [30, 170, 400]) {
    const began = performance.now();
    assertEquals(await locks.acquire("key", { ttl: 1000, wait }), undefined);
    const took = performance.now() - began;
    assert(took >= wait - 1 && took < wait + 250, `waited ${took} of ${wait} ms`); // the machine may be busy
  }
});
