/** Locks over a network that fails: real Redis behind an Upstash endpoint. */
import { Redis } from "@upstash/redis";
import { Lock as PeerLock } from "@upstash/lock";
import { createLocks, HoldfastError, type Locks } from "@holdfast/edge";
import { upstashStore } from "@holdfast/edge/upstash";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { report } from "../support/report.ts";
import { startRedis } from "../support/redis_server.ts";
import { type Fault, startUpstash, type UpstashServer } from "../support/upstash_server.ts";
import { inVirtualTime } from "../support/virtual_time.ts";

const quiet = { sanitizeOps: false, sanitizeResources: false };

/** The store's time limit: long, so that only what a test breaks is slow enough for it. */
const TIMEOUT = "20s";

function test(name: string, run: (locks: Locks, upstash: UpstashServer) => Promise<void>): void {
  Deno.test({
    name: `Upstash: ${name}`,
    ...quiet,
    async fn() {
      await using redis = await startRedis();
      await using upstash = await startUpstash(redis.port);
      const { url, token } = upstash;
      const locks = createLocks(upstashStore({ url, token }, { timeout: TIMEOUT }));
      // The scripts are known from here on, as they are in any database that is in use.
      const warm = await locks.acquire("warm", { ttl: "1m" });
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
      acquire: await cost(async () => lock = await locks.acquire("key", { ttl: 60_000 })),
      refused: await cost(() => locks.acquire("key", { ttl: 60_000 })),
      extend: await cost(() => lock!.extend()),
      release: await cost(() => lock!.release()),
    };
    const { url, token } = upstash;
    const redis = new Redis({ url, token, enableTelemetry: false }) as never;
    const options = { id: "peer", redis, lease: 60_000, retry: { attempts: 1, delay: 0 } };
    const [mine, other] = [new PeerLock(options), new PeerLock(options)];
    const theirs = {
      acquire: await cost(() => mine.acquire()),
      refused: await cost(() => other.acquire()),
      extend: await cost(() => mine.extend(60_000)),
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
      const lock = await locks.acquire("key", { ttl: "1m", wait: "30s" });
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
  await eventually(async () => !(await locks.inspect("key")).held, "the orphaned acquisition is released");
});

test(
  "an aborted acquisition rejects at once and is released when its reply has come",
  async (locks, upstash) => {
    let arrived = 0;
    const replied = Promise.withResolvers<undefined>();
    upstash.fault = () => arrived++ === 0 ? replied.promise : undefined;
    const controller = new AbortController();
    const acquiring = locks.acquire("key", { ttl: "1h", signal: controller.signal });
    await eventually(() => arrived === 1, "the request arrives");
    controller.abort(new Error("enough"));
    // The reply cannot come before this: it does not wait for it.
    assertEquals((await assertRejects(() => acquiring)).message, "enough");
    replied.resolve(undefined);
    await eventually(() => arrived === 2, "the release arrives");
    await eventually(async () => !(await locks.inspect("key")).held, "the orphaned acquisition is released");
  },
);

test("a holder is told at its deadline although the network hangs", async (_, upstash) => {
  const clock = new ManualClock();
  const locks = createLocks(upstashStore(upstash, { timeout: TIMEOUT }), { clock });
  const lock = (await locks.acquire("key", { ttl: 10_000, renew: true }))!;
  const hung = Promise.withResolvers<undefined>();
  let asked = 0;
  upstash.fault = () => (asked++, hung.promise);
  await clock.advance(5000);
  await eventually(() => asked > 0, "the renewal is on its way");
  const told = new Promise<number>((resolve) =>
    lock.signal.addEventListener("abort", () => resolve(clock.now()), { once: true })
  );
  const began = clock.now();
  await clock.advance(4800);
  assertEquals(lock.signal.aborted, false, "not before its deadline");
  await clock.advance(200);
  const after = await told - began;
  assert(after <= 5000, `told after ${after} of 5000 ms`);
  assertEquals(lock.signal.reason.code, "lock-lost");
  const requests = asked;
  assertEquals(await lock.extend(), false, "lost for good");
  assertEquals(asked, requests, "without I/O");
  upstash.fault = undefined;
  hung.resolve(undefined);
});

test("a grant that arrives after its lease is not a lock", async (locks, upstash) => {
  // The lease is long enough for a busy machine to answer within it, and each first answer takes longer.
  const [ttl, late] = [2000, { delay: 2500 }];
  faults(upstash, late);
  const error = await assertRejects(() => locks.acquire("key", { ttl }), HoldfastError);
  assertEquals(error.code, "timeout");
  let asked = 0;
  upstash.fault = ({ command }) => String(command).includes("another") && asked++ === 0 ? late : undefined;
  const lock = await locks.acquire("another", { ttl, wait: "30s" });
  assert(lock!.remaining > 0, "asked again, it is one");
  assert(asked > 1, "the first grant came too late");
  await lock!.release();
});

test(
  "release() says what is known: released by a try whose reply was lost, unconfirmed, and repeatable",
  async (locks, upstash) => {
    const lock = (await locks.acquire("key", { ttl: "1m" }))!;
    faults(upstash, { cut: "after" });
    assertEquals(await lock.release(), "released", "the first try did it, the second knows");
    const other = (await locks.acquire("key", { ttl: "1m" }))!;
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
    assertEquals(await locks.withLock("a", { ttl: "1m" }, () => (broken(), 7)), 7);
    upstash.fault = undefined;
    const mine = new Error("mine");
    const error = await assertRejects(() =>
      locks.withLock("b", { ttl: "1m" }, () => {
        broken();
        throw mine;
      })
    );
    assertEquals(error, mine);
  },
);

test("timeout, lost, backend and abort have codes of their own", async (locks, upstash) => {
  await using _held = await locks.acquire("key", { ttl: "2m" });
  const code = async (work: () => Promise<unknown>) => {
    const error = await assertRejects(work);
    return error instanceof HoldfastError ? error.code : error.name;
  };
  const brief = (await locks.acquire("brief", { ttl: 2000 }))!;
  await eventually(() => brief.remaining === 0, "the lease ends");
  assertEquals(
    {
      timeout: await code(() => locks.withLock("key", { ttl: 1000, wait: 50 }, () => {})),
      lost: await code(() => Promise.resolve().then(() => brief.assertHeld())),
      abort: await code(() =>
        locks.acquire("key", { ttl: 1000, wait: "1m", signal: AbortSignal.timeout(20) })
      ),
      // Every request, for the one that was aborted above may still be on its way.
      backend: (upstash.fault = () => ({ cut: "before" }),
        await code(() => locks.acquire("other", { ttl: 1000 }))),
    },
    { timeout: "lock-timeout", lost: "lock-lost", abort: "TimeoutError", backend: "backend-unavailable" },
  );
});

test("a wait ends when it should, whatever the backoff", async (_, upstash) => {
  const { store, clock, wait: pass } = inVirtualTime((clock) =>
    upstashStore(upstash, { timeout: TIMEOUT, virtualTime: () => clock.now() })
  );
  const locks = createLocks(store, { clock });
  await using _held = await locks.acquire("key", { ttl: "1h" });
  for (const wait of [30, 170, 400]) {
    const began = clock.now();
    let took: number | undefined;
    const acquiring = locks.acquire("key", { ttl: 1000, wait }).then((lock) => {
      took = clock.now() - began;
      return lock;
    });
    while (took === undefined) await pass(1);
    assertEquals(await acquiring, undefined);
    assert(took >= wait && took <= wait + 5, `waited ${took} of ${wait} ms`);
  }
});
