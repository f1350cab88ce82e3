/**
 * Mutual exclusion under faults, judged from outside. CHECK_SECTIONS sets the sections per client (`deno task
 * test:checks`: 1,000), SEED repeats a run's choices.
 */
import { Redis } from "@upstash/redis";
import { Lock } from "@upstash/lock";
import { type AtomicStore, createLocks, memoryStore, systemClock } from "@holdfast/edge";
import { assert, assertEquals } from "../support/assert.ts";
import { report } from "../support/report.ts";
import { ownProcess } from "../support/own_process.ts";
import { Random } from "../support/random.ts";
import { RespConnection } from "../support/resp.ts";
import { engines, type Opened } from "./engines.ts";
import {
  type Acquire,
  heldLock,
  runWorkload,
  shown,
  type WorkloadOptions,
  type WorkloadVerdict,
} from "./lock_workload.ts";

const CLIENTS = 12;
const SECTIONS = Number(Deno.env.get("CHECK_SECTIONS") ?? 15);
/** A short run sleeps past the lease more often, or it would hardly ever. */
const PAUSES = SECTIONS < 100 ? 0.1 : 0.03;
const seed = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 2 ** 31));

/**
 * Ours, each client in a process of its own: in one process, a gate would keep them apart before they reach
 * the engine.
 */
function ours(store: AtomicStore, renew = false): Acquire {
  const locks = createLocks(ownProcess(store));
  return async (key, ttl) => {
    return heldLock(await locks.acquire(key, { ttl, wait: "20s", renew }));
  };
}

/** The peer, as its documentation says. */
function peer({ servers }: Opened): Acquire {
  const { url, token } = servers!.upstash;
  const redis = new Redis({ url, token, enableTelemetry: false });
  return async (key, lease) => {
    // Its types know the SDK by another of its entry points.
    const lock = new Lock({ id: key, redis: redis as never, lease, retry: { attempts: 100, delay: 10 } });
    if (!await lock.acquire()) return undefined;
    return { fence: undefined, signal: undefined, release: () => lock.release() };
  };
}

interface CheckOptions extends Partial<WorkloadOptions> {
  /** Happens to the engine again and again while the clients work. */
  readonly disturb?: (opened: Opened, count: number) => Promise<void>;
}

interface Watched extends WorkloadVerdict {
  /** The longest time in milliseconds for which this process stood still. */
  readonly stall: number;
  /** The largest correction of the wall clock in milliseconds, against the monotonic clock. */
  readonly stepped: number;
}

/**
 * Runs the workload, again where the machine's wall clock was corrected meanwhile: an engine ends leases by its wall
 * clock, holders by their monotonic one. No lease survives a step of a tenth of it, and one of a hundredth may be what
 * a verdict shows.
 */
async function check(
  engine: string,
  faults: number,
  client: (opened: Opened) => Acquire,
  options: CheckOptions = {},
): Promise<Watched> {
  for (let attempt = 1;; attempt++) {
    const verdict = await checkOnce(engine, faults, client, options);
    const { overlaps, lost, lostUnfenced, told } = verdict;
    const suspect = verdict.stepped >= 3 && overlaps + lost + lostUnfenced + told > 0;
    if (verdict.stepped < 20 && !suspect || attempt === 5) return verdict;
    report(`  ${engine}: the wall clock stepped by ${verdict.stepped.toFixed(0)} ms; once more`);
  }
}

async function checkOnce(
  engine: string,
  faults: number,
  client: (opened: Opened) => Acquire,
  { disturb, ...options }: CheckOptions,
): Promise<Watched> {
  const random = new Random(seed);
  const opened = await engines[engine]!(random, faults);
  let done = false;
  let [last, stall, stepped] = [performance.now(), 0, 0];
  const offset = Date.now() - last;
  const watching = setInterval(() => {
    const now = performance.now();
    const late = Math.abs(Date.now() - now - offset);
    if (performance.now() - now < 1) stepped = Math.max(stepped, late);
    [stall, last] = [Math.max(stall, now - last), now];
  }, 5);
  const disturbing = (async () => {
    for (let count = 0; disturb && !done; count++) {
      await new Promise((resolve) => setTimeout(resolve, 150));
      if (!done) await disturb(opened, count);
    }
  })();
  try {
    const clients = Array.from({ length: CLIENTS }, () => client(opened));
    const verdict = await runWorkload({ random, clients, sections: SECTIONS, pauses: PAUSES, ...options });
    return { ...verdict, stall, stepped };
  } finally {
    clearInterval(watching);
    done = true;
    await disturbing;
    await new Promise((resolve) => setTimeout(resolve, 500)); // orphaned acquisitions are released in the background
    await opened.close();
  }
}

function assertSafe(name: string, verdict: WorkloadVerdict): void {
  report(shown(name, verdict));
  const { overlaps, notIncreasing, lost, lostUnfenced, sections } = verdict;
  assertEquals(
    { overlaps, notIncreasing, lost, lostUnfenced },
    { overlaps: 0, notIncreasing: 0, lost: 0, lostUnfenced: 0 },
    `SEED=${seed}: ${name}`,
  );
  assertEquals(sections, CLIENTS * SECTIONS, `SEED=${seed}: ${name}: every section took place`);
}

const quiet = { sanitizeOps: false, sanitizeResources: false };

for (const engine of ["memory", "Deno KV", "Upstash", "Postgres", "libSQL"]) {
  Deno.test({
    name:
      `locks on ${engine}: 20 % faults and pauses past the lease: no holders overlap unnoticed, nothing is lost`,
    ...quiet,
    async fn() {
      assertSafe(`${engine}, 20 % faults`, await check(engine, 0.2, ({ store }) => ours(store())));
      if (engine !== "Upstash") return;
      report(shown("  @upstash/lock, 20 % faults", await check(engine, 0.2, peer)));
    },
  });
}

Deno.test({
  name: "locks on Upstash: without faults too, renewed or not; the peer overlaps there as well",
  ...quiet,
  async fn() {
    const sections = Math.min(SECTIONS, 100);
    const some = { sections, pauses: 0.1 };
    for (const renew of [false, true]) {
      // A renewal has two thirds of a lease to arrive, also on a machine that runs other tests beside it.
      const long = { ttl: 3000, sections: Math.min(SECTIONS, 6) };
      const options = { ...some, ...(renew && long) };
      const verdict = await check("Upstash", 0, ({ store }) => ours(store(), renew), options);
      report(shown(`Upstash, no faults${renew ? ", renewed" : ""}`, verdict));
      const { overlaps, notIncreasing, lost, lostUnfenced } = verdict;
      assertEquals([overlaps, notIncreasing, lost, lostUnfenced], [0, 0, 0, 0], `SEED=${seed}`);
      if (renew && verdict.stall < 500) assertEquals(verdict.told, 0, "a holder that renews may pause");
    }
    const theirs = await check("Upstash", 0, peer, some);
    report(shown("  @upstash/lock, no faults", theirs));
    assert(theirs.overlaps > 0, "the checker sees a holder that is never notified");
  },
});

Deno.test({
  name:
    "locks on Upstash: FLUSHALL, SCRIPT FLUSH and a restart: tokens increase and a fenced register loses nothing",
  ...quiet,
  async fn() {
    let disturbances = 0;
    const verdict = await check("Upstash", 0.05, ({ store }) => ours(store()), {
      sections: Math.min(SECTIONS, 100),
      async disturb({ servers }, count) {
        const { redis } = servers!;
        disturbances++;
        if (count % 3 === 2) {
          await redis.kill();
          return await redis.start();
        }
        const connection = await RespConnection.open(redis.port);
        await connection.send(count % 3 === 0 ? ["FLUSHALL"] : ["SCRIPT", "FLUSH"]);
        connection.close();
      },
    });
    report(shown(`Upstash, ${disturbances} flushes and restarts`, verdict));
    assert(disturbances >= 3, "it was disturbed");
    assertEquals([verdict.notIncreasing, verdict.lost], [0, 0], `SEED=${seed}`);
  },
});

Deno.test({
  name:
    "locks on an engine whose clock steps hours back and forth: tokens increase and a fenced register loses nothing",
  ...quiet,
  async fn() {
    let offset = 0;
    let steps = 0;
    const random = new Random(seed);
    const clock = { ...systemClock, now: () => Date.now() + offset };
    const store = memoryStore({ clock });
    const stepping = setInterval(() => {
      steps++;
      offset = random.pick([0, 3_600_000, -3_600_000, 500, -500]);
    }, 50);
    const sections = Math.min(SECTIONS, 100);
    const clients = Array.from({ length: CLIENTS }, () => ours(store));
    const verdict = await runWorkload({ random, clients, sections, pauses: 0.1 }).finally(() =>
      clearInterval(stepping)
    );
    report(shown(`memory, ${steps} clock steps`, verdict));
    assertEquals([verdict.notIncreasing, verdict.lost], [0, 0], `SEED=${seed}`);
  },
});

Deno.test({
  name: "three permits on Upstash under faults: never a fourth inside",
  ...quiet,
  async fn() {
    const client = ({ store }: Opened): Acquire => {
      const locks = createLocks(ownProcess(store()));
      return async (key, ttl) => {
        const held = heldLock(await locks.acquire(key, { ttl, wait: "20s", permits: 3, fair: true }));
        return held && { ...held, fence: undefined };
      };
    };
    const verdict = await check("Upstash", 0.2, client, {
      keys: 2,
      permits: 3,
      sections: Math.min(SECTIONS, 100),
    });
    report(shown("Upstash, 3 permits, 20 % faults", verdict));
    assertEquals(verdict.overlaps, 0, `SEED=${seed}`);
  },
});
