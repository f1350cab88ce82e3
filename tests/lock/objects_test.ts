/**
 * Locks on Durable Objects, inside workerd: the queue, and mutual exclusion under faults. CHECK_SECTIONS and
 * SEED as in tests/checks.
 */
import { shown, type WorkloadVerdict } from "../checks/lock_workload.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { report } from "../support/report.ts";
import { startWorkerd, workerdTest } from "../support/workerd.ts";

const SECTIONS = Number(Deno.env.get("CHECK_SECTIONS") ?? 15);
const seed = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 2 ** 31));

workerdTest("locks on Durable Objects", async (t) => {
  await using worker = await startWorkerd({
    entry: new URL("./objects_worker.ts", import.meta.url),
    durableObjects: { HOLDFAST: "HoldfastObject", TIMED: "TimedObject" },
  });
  const probe = async (path: string) => {
    const response = await fetch(`${worker.url}/${path}`);
    if (!response.ok) throw new Error(await response.text());
    return await response.json();
  };

  await t.step(
    "50 waiters on a fair lock are served in order while their clock stands still, without polling",
    async () => {
      const { order, slowest, idle, calls } = await probe("fair?waiters=50");
      report(
        `Durable Objects: slowest hand-over ${slowest} ms, ${calls} calls for 50 waiters, ${idle} while idle`,
      );
      assertEquals(order, Array.from({ length: 50 }, (_, i) => i));
      assert(slowest < 20_000, `the slowest came ${slowest} ms after the release before it`);
      assertEquals(idle, 0, "no waiter asks while nothing happens");
      // Each: woken as the next and listening again, woken by its turn, its release; and a look or two that
      // came too early.
      assert(calls <= 8 * 50, `the objects were called ${calls} times`);
    },
  );

  await t.step("1,000 waiters of one isolate are served in order, none times out", async () => {
    const { order, took, calls } = await probe("crowd?waiters=1000");
    report(`Durable Objects: 1,000 waiters in ${took} ms, ${calls} calls`);
    assertEquals(order, Array.from({ length: 1000 }, (_, i) => i));
    assert(calls <= 5 * 1000, `the objects were called ${calls} times`);
  });

  await t.step("a wait of three seconds leaves no call open at the object", async () => {
    // Long enough for a busy machine to come to listening.
    const { refused, lengths, open } = await probe("brief?wait=3000");
    assertEquals([refused, open], [true, 0]);
    assert(lengths.length > 0 && lengths.every((length: number) => length <= 3000), String(lengths));
  });

  await t.step("an object takes 1,024 waits per key, and refuses more at once", async () => {
    assertEquals(await probe("full?waits=1030&refused=6"), { changed: 1024, refused: 6 });
  });

  await t.step(
    "20 % faults and pauses past the lease: no holders overlap unnoticed, nothing is lost",
    async () => {
      const pauses = SECTIONS < 100 ? 0.1 : 0.03;
      const verdict: WorkloadVerdict = await probe(
        `check?seed=${seed}&sections=${SECTIONS}&pauses=${pauses}`,
      );
      report(shown("Durable Objects, 20 % faults", verdict));
      const { overlaps, notIncreasing, lost, lostUnfenced, sections } = verdict;
      assertEquals(
        [overlaps, notIncreasing, lost, lostUnfenced, sections],
        [0, 0, 0, 0, 12 * SECTIONS],
        `SEED=${seed}`,
      );
    },
  );
});
