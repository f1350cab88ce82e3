/** The recipes of docs/http.md: they do what they say, and stand there as they are. */
import { createIdempotency, createLocks, type Lock, memoryStore } from "@holdfast/edge";
import { lead } from "../../examples/recipes/lead.ts";
import { loginGuard } from "../../examples/recipes/login_guard.ts";
import { oncePerTick } from "../../examples/recipes/once_per_tick.ts";
import { webLocks } from "../../examples/recipes/web_locks.ts";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

Deno.test("recipes: docs/http.md shows each as it is", async () => {
  const read = (path: string) => Deno.readTextFile(new URL(`../../${path}`, import.meta.url));
  const docs = await read("docs/http.md");
  for (const name of ["once_per_tick", "lead", "web_locks", "login_guard"]) {
    assert(docs.includes((await read(`examples/recipes/${name}.ts`)).trim()), name);
  }
});

Deno.test("recipes: a cron runs once per tick over ten instances, also when the one that began crashes", async () => {
  const clock = new ManualClock();
  const store = memoryStore({ clock });
  const runs: number[] = [];
  const instance = () => createIdempotency(store, { name: "cron", lease: "30s", clock });
  const wake = (now: number, crash = false) =>
    oncePerTick(instance(), "report", 60_000, async () => {
      if (crash) await new Promise(() => {});
      runs.push(now);
      return await Promise.resolve(`report of ${now}`);
    }, { now });
  const minute = 28_333_333 * 60_000;
  const results = await Promise.all(Array.from({ length: 10 }, (_, i) => wake(minute + i * 100)));
  assertEquals([runs.length, new Set(results).size], [1, 1]);
  await wake(minute + 60_000);
  assertEquals(runs.length, 2, "the next tick");

  // An instance that crashes: its claim is kept by nobody, as its timers do not run on.
  const dead = new ManualClock();
  const crashed = createIdempotency(store, { name: "cron", lease: "30s", clock: dead });
  const began = Promise.withResolvers<void>();
  void oncePerTick(crashed, "report", 60_000, () => (began.resolve(), new Promise(() => {})), {
    now: minute + 120_000,
  });
  await began.promise;
  const others = [wake(minute + 120_000), wake(minute + 120_010)];
  for (let i = 0; i < 40; i++) await clock.advance(1000);
  await Promise.all(others);
  assertEquals(runs.length, 3);
});

Deno.test("recipes: one instance leads at a time; when it ends or dies another one does, under a higher fencing token", async () => {
  const locks = createLocks(memoryStore());
  let [leaders, most] = [0, 0];
  const terms: Lock[] = [];
  const ends: AbortController[] = [];
  const work = async (term: Lock) => {
    terms.push(term);
    most = Math.max(most, ++leaders);
    await pause(10);
    leaders--;
    if (terms.length >= 4) { for (const end of ends) end.abort(); }
  };
  const candidate = () => {
    const end = new AbortController();
    ends.push(end);
    return lead(locks, "indexer", work, { signal: end.signal, ttl: "1m" });
  };
  await Promise.all([candidate(), candidate(), candidate()]);
  assertEquals(most, 1);
  const tokens = terms.map(({ fencingToken }) => fencingToken);
  assert(tokens.every((token, i) => i === 0 || token > tokens[i - 1]!), tokens.join());

  // A leader that dies: its lease ends, and the next one begins.
  const store = memoryStore();
  const dead = (await createLocks(store).acquire("indexer", { ttl: 300 }))!;
  const end = new AbortController();
  await lead(createLocks(store), "indexer", (term) => {
    assert(term.fencingToken > dead.fencingToken);
    end.abort();
    return Promise.resolve();
  }, { signal: end.signal, ttl: "1m" });
});

Deno.test("recipes: the shape of Web Locks: shared and exclusive, ifAvailable, a signal, the result of the work", async () => {
  const { request } = webLocks(createLocks(memoryStore()));
  let [readers, most, writers] = [0, 0, 0];
  const read = () =>
    request("doc", { mode: "shared" }, async (lock) => {
      assertEquals([lock!.name, lock!.mode, writers], ["doc", "shared", 0]);
      most = Math.max(most, ++readers);
      await pause(20);
      readers--;
      return "read";
    });
  const write = () =>
    request("doc", {}, async (lock) => {
      assertEquals([lock!.mode, readers, ++writers], ["exclusive", 0, 1]);
      lock!.held.assertHeld();
      assertEquals(await request("doc", { ifAvailable: true }, (lock) => lock), null);
      writers--;
      return "written";
    });
  assertEquals(await Promise.all([read(), read(), write(), read()]), ["read", "read", "written", "read"]);
  assertEquals(most >= 2, true, "readers share it");
  await request("doc", {}, async () => {
    const controller = new AbortController();
    const waiting = request("doc", { signal: controller.signal }, () => "never");
    controller.abort(new Error("enough"));
    assertEquals((await assertRejects(() => waiting)).message, "enough");
  });
  await assertRejects(() => request("doc", {}, () => Promise.reject(new Error("mine"))), Error);
  assertEquals(await request("doc", { ifAvailable: true }, () => "free again"), "free again");
});

Deno.test("recipes: a login is blocked after five failures, each time for longer; others are not locked out", async () => {
  const clock = new ManualClock();
  const login = loginGuard(memoryStore({ clock }));
  const tries = async (account: string, address: string, count: number, right = false) => {
    const states: string[] = [];
    for (let i = 0; i < count; i++) {
      states.push((await login(account, address, () => Promise.resolve(right))).state);
    }
    return states.join();
  };
  assertEquals(await tries("ada", "10.0.0.1", 6), "wrong,wrong,wrong,wrong,wrong,blocked");
  assertEquals(await tries("ADA", "10.0.0.1", 1, true), "blocked", "also with the right password");
  assertEquals(await tries("ada", "10.0.0.2", 1, true), "in", "from elsewhere");
  assertEquals(await tries("bob", "10.0.0.1", 1, true), "in", "another account behind the same address");
  const lengths: number[] = [];
  for (let i = 0; i < 4; i++) {
    const outcome = await login("ada", "10.0.0.1", () => Promise.resolve(false));
    assert(outcome.state === "blocked");
    lengths.push(Math.ceil(outcome.retryAfter / 60_000));
    await clock.advance(outcome.retryAfter);
    // The units that have come back meanwhile are used up again, until the next block.
    while ((await login("ada", "10.0.0.1", () => Promise.resolve(false))).state === "wrong");
  }
  assertEquals(lengths, lengths.toSorted((a, b) => a - b), "each block is longer");
  assert(lengths.at(-1)! >= 240, lengths.join());

  // One address that tries many accounts.
  let wrong = 0;
  for (let i = 0; i < 100; i++) {
    if ((await login(`user ${i}`, "10.0.0.3", () => Promise.resolve(false))).state === "wrong") wrong++;
  }
  assertEquals(wrong, 30);
  // A crowd of parallel guesses.
  let looked = 0;
  await Promise.all(Array.from({ length: 50 }, () =>
    login("eve", "10.0.0.4", async () => {
      looked++;
      await pause(5);
      return false;
    })));
  assertEquals(looked, 5);
});
