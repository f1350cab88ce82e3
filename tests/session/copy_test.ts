import { createSessions, memoryStore } from "@holdfast/edge";
import {
  atomicSessionStore,
  copySessions,
  keyValueSessionStore,
  replicatedSessions,
  sweepSessions,
} from "@holdfast/edge/sessions";
import { compareAndSetStore } from "../support/cas_engine.ts";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";

function setUp() {
  const clock = new ManualClock();
  const from = atomicSessionStore(memoryStore({ clock }));
  const to = atomicSessionStore(compareAndSetStore(clock));
  const options = { clock, idleTimeout: "10m", absoluteTimeout: "1h" } as const;
  const [before, after] = [createSessions(from, options), createSessions(to, options)];
  const login = async (user: string) => {
    const session = before.open(null);
    session.set("name", user);
    session.login(user);
    return (await before.commit(session))!.split(";")[0]!;
  };
  return { clock, from, to, before, after, login };
}

Deno.test("copySessions(): cookies work on the other side, with the time they had left, listed there too", async () => {
  const { clock, from, to, after, login } = setUp();
  const cookies = await Promise.all(["ada", "ada", "bob"].map(login));
  await clock.advance(9 * 60_000);
  const report = await copySessions(from, to, { verify: true });
  assertEquals(report, { seen: 3, copied: 3, present: 0, ended: 0, failed: 0, errors: [] });
  assertEquals(await after.open(cookies[0]).get("name"), "ada");
  assertEquals((await after.listSessions("ada")).length, 2);
  await clock.advance(60_000);
  assertEquals(await Promise.all(cookies.map((cookie) => after.open(cookie).isNew())), [true, true, true]);
});

Deno.test("copySessions(): a dry run writes nothing, a second run copies nothing, and newer or ended sessions stay", async () => {
  const { from, to, after, login } = setUp();
  const [used, ended] = await Promise.all(["ada", "bob", "eve"].map(login));
  assertEquals((await copySessions(from, to, { dryRun: true })).copied, 3);
  assertEquals((await to.index.keys()).keys, []);
  await copySessions(from, to);
  const session = after.open(used);
  session.set("name", "newer");
  await after.commit(session);
  const logout = after.open(ended);
  logout.revoke();
  await after.commit(logout);
  const again = await copySessions(from, to, { verify: true });
  assertEquals([again.copied, again.present, again.ended, again.failed], [0, 2, 1, 0]);
  assertEquals(await after.open(used).get("name"), "newer");
  assertEquals(await after.open(ended).isNew(), true);
});

Deno.test("copySessions(): resumes after a stop, reports its progress, and skips a session that fails", async () => {
  const { from, to, login } = setUp();
  for (let i = 0; i < 10; i++) await login(`user:${i}`);
  const cursors: (string | undefined)[] = [];
  const controller = new AbortController();
  await assertRejects(() =>
    copySessions(from, to, {
      batch: 3,
      signal: controller.signal,
      onProgress(progress) {
        cursors.push(progress.cursor);
        if (progress.seen === 6) controller.abort();
      },
    })
  );
  assertEquals((await to.index.keys()).keys.length, 6);
  const rest = await copySessions(from, to, { batch: 3, cursor: cursors.at(-1)! });
  assertEquals([rest.seen, rest.copied], [4, 4]);
  let calls = 0;
  const failing = {
    ...to,
    index: undefined,
    load: to.load.bind(to),
    delete: to.delete.bind(to),
    exists: to.exists.bind(to),
    save: () =>
      ++calls === 4 ? Promise.reject(new Error("down")) : Promise.resolve({ state: "unknown" as const }),
  };
  const report = await copySessions(from, failing);
  assertEquals([report.seen, report.ended, report.failed, report.errors.length], [10, 9, 1, 1]);
  assert(typeof report.errors[0]!.handle === "string");
  await assertRejects(() => copySessions(from, to, { batch: 0 }), RangeError);
  await assertRejects(() => copySessions(from, to, { dryrun: true } as object), TypeError);
});

Deno.test("copySessions(): copies no session that an epoch of either side revoked", async () => {
  const { clock, from, to, before, after, login } = setUp();
  await login("ada");
  const user = (await from.index.keys()).keys[0]!;
  const found = await from.load(user);
  assert(found.state === "live");
  const { sha256 } = await import("../../src/secret.ts");
  await from.index.remove(await sha256("ada"), found.record.handle); // the index is lost
  await clock.advance(5);
  await before.revokeUser("ada");
  await login("bob");
  await clock.advance(5);
  await after.revokeUser("bob");
  const report = await copySessions(from, to);
  assertEquals([report.copied, report.ended], [0, 2]);
});

Deno.test("copySessions(): from a key-value store to an atomic one, as when moving off Workers KV", async () => {
  const clock = new ManualClock();
  const from = keyValueSessionStore(memoryStore({ clock }), { clock });
  const to = atomicSessionStore(memoryStore({ clock }));
  const sessions = createSessions(from, { clock, eventual: true });
  const session = sessions.open(null);
  session.login("ada");
  const cookie = await sessions.commit(session);
  assertEquals((await copySessions(from, to, { verify: true })).copied, 1);
  assertEquals(await createSessions(to, { clock }).open(cookie!.split(";")[0]).userId(), "ada");
});

Deno.test("copySessions(): onto two stores and off them again, as when a second one is added or the first one replaced", async () => {
  const { clock, from, to, login } = setUp();
  const third = atomicSessionStore(memoryStore({ clock }));
  const cookies = await Promise.all(["ada", "bob"].map(login));
  await using both = replicatedSessions(to, third, { clock, strategy: "acknowledged" });
  assertEquals((await copySessions(from, both, { verify: true })).copied, 2);
  for (const store of [to, third]) {
    assertEquals(await createSessions(store, { clock }).open(cookies[0]).userId(), "ada");
    assertEquals((await createSessions(store, { clock }).listSessions("bob")).length, 1);
  }
  const last = atomicSessionStore(memoryStore({ clock }));
  assertEquals((await copySessions(both, last, { verify: true })).copied, 2);
  assertEquals((await createSessions(last, { clock }).listSessions("ada")).length, 1);
});

Deno.test("sweepSessions(): ends sessions that an epoch revoked, and purges where the store can", async () => {
  const { clock, from, before, login } = setUp();
  await Promise.all(["ada", "bob"].map(login));
  const { sha256 } = await import("../../src/secret.ts");
  for (const { handle } of (await from.index.read(await sha256("ada"))).entries) {
    await from.index.remove(await sha256("ada"), handle);
  }
  await clock.advance(5);
  await before.revokeUser("ada");
  assertEquals(await sweepSessions(from), { seen: 2, live: 1, revoked: 1, purged: 0 });
  assertEquals(await sweepSessions(from), { seen: 2, live: 1, revoked: 0, purged: 0 }); // one is a tombstone
  const purged: string[] = [];
  const purging = Object.assign(Object.create(from), {
    index: from.index,
    load: from.load.bind(from),
    purge: (key: string) => Promise.resolve(void purged.push(key)),
  });
  assertEquals(await sweepSessions(purging), { seen: 2, live: 1, revoked: 0, purged: 1 });
  assertEquals(purged.length, 1);
  await assertRejects(() => sweepSessions(from, { batch: 0.5 }), RangeError);
});
