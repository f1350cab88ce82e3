/**
 * better-auth itself on our storage: what its users do, on every engine, and the races it loses on a plain
 * Map.
 */
import { type AtomicStore, memoryStore } from "@holdfast/edge";
import { type BetterAuthStorage, betterAuthStorage } from "@holdfast/edge/better-auth";
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { upstashStore } from "@holdfast/edge/upstash";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { startRedis } from "../support/redis_server.ts";
import { report } from "../support/report.ts";
import { startUpstash } from "../support/upstash_server.ts";
import { type Browser, startAuth } from "./_auth.ts";

const secret = "a-secret-of-at-least-32-characters-for-the-tests";
const ada = { email: "ada@example.com", password: "correct horse", name: "Ada" };

/** The storage one would write at first: five calls on a map. */
function mapStorage(): BetterAuthStorage {
  const map = new Map<string, string>();
  return {
    get: (key) => Promise.resolve(map.get(key) ?? null),
    set: (key, value) => Promise.resolve(void map.set(key, value)),
    delete: (key) => Promise.resolve(void map.delete(key)),
    getAndDelete(key) {
      const value = map.get(key) ?? null;
      map.delete(key);
      return Promise.resolve(value);
    },
    increment(key) {
      const next = Number(map.get(key) ?? 0) + 1;
      map.set(key, String(next));
      return Promise.resolve(next);
    },
  };
}

/** The storage behind a network: every call takes a while, and a test may step in before one takes effect. */
function remote(
  storage: BetterAuthStorage,
  before: (call: string, key: string) => Promise<void> | void = () => {},
): BetterAuthStorage {
  const far = <Args extends [string, ...unknown[]], T>(name: string, call: (...args: Args) => Promise<T>) => {
    return async (...args: Args): Promise<T> => {
      await new Promise((resolve) => setTimeout(resolve, 2));
      await before(name, args[0]);
      return await call(...args);
    };
  };
  return {
    get: far("get", storage.get),
    set: far("set", storage.set),
    delete: far("delete", storage.delete),
    getAndDelete: far("getAndDelete", storage.getAndDelete),
    increment: far("increment", storage.increment),
  };
}

async function listed(browser: Browser): Promise<{ token: string }[]> {
  return (await browser.call("/list-sessions")).body;
}

async function signIn(browser: Browser, password = ada.password): Promise<Browser> {
  const { status } = await browser.call("/sign-in/email", { email: ada.email, password });
  assertEquals(status, 200, "sign-in");
  return browser;
}

async function flow(storage: BetterAuthStorage): Promise<void> {
  const auth = startAuth(storage);
  const first = auth.browser();
  assertEquals((await first.call("/sign-up/email", ada)).status, 200, "sign-up");
  assertEquals(await first.user(), ada.email, "signed up is signed in");

  const second = await signIn(auth.browser());
  const third = await signIn(auth.browser());
  assertEquals((await listed(first)).length, 3, "list");

  const mine = new Set((await listed(first)).map(({ token }) => token));
  const { body: { session } } = await second.call("/get-session");
  assertEquals((await first.call("/revoke-session", { token: session.token })).status, 200, "revoke");
  assertEquals(await second.user(), undefined, "the revoked one is out");
  assertEquals(
    (await listed(first)).map(({ token }) => token).sort(),
    [...mine].filter((token) => token !== session.token).sort(),
    "listed",
  );

  assertEquals((await first.call("/revoke-other-sessions", {})).status, 200, "revoke the others");
  assertEquals([await first.user(), await third.user()], [ada.email, undefined], "all but this one");
  assertEquals((await listed(first)).length, 1, "one is left");

  const replay = first.copy();
  assertEquals((await first.call("/sign-out", {})).status, 200, "sign-out");
  assertEquals(await replay.user(), undefined, "an old cookie does not work");

  const forgetful = await signIn(auth.browser());
  await auth.browser().call("/request-password-reset", { email: ada.email, redirectTo: "/reset" });
  const token = auth.mailed();
  const resets = await Promise.all(
    Array.from(
      { length: 5 },
      () => auth.browser().call("/reset-password", { token, newPassword: "battery staple" }),
    ),
  );
  assertEquals(resets.map(({ status }) => status).sort(), [200, 400, 400, 400, 400], "one reset");
  assertEquals(await forgetful.user(), undefined, "a reset signs out everywhere");
  await signIn(auth.browser(), "battery staple");

  const guesses: number[] = [];
  for (let i = 0; i < 5; i++) {
    const guess = { email: ada.email, password: "wrong" };
    guesses.push(
      (await auth.browser().call("/sign-in/email", guess, {
        "x-limited": "3/600",
        "x-real-ip": "192.0.2.7",
      })).status,
    );
  }
  assertEquals(guesses, [401, 401, 401, 429, 429], "rate limit");
  const guess = async () => {
    const guess = { email: ada.email, password: "wrong" };
    const headers = { "x-limited": "1/3", "x-real-ip": "192.0.2.8" };
    return (await auth.browser().call("/sign-in/email", guess, headers)).status;
  };
  await eventually(async () => await guess() === 429, "a second guess within three seconds is one too many");
  await eventually(async () => await guess() === 401, "after its window it opens again");

  const refreshing = startAuth(storage, { refreshes: true });
  const browser = refreshing.browser();
  assertEquals((await browser.call("/sign-up/email", { ...ada, email: "bob@example.com" })).status, 200);
  const before = (await browser.call("/get-session")).body.session.expiresAt;
  await new Promise((resolve) => setTimeout(resolve, 20));
  const after = (await browser.call("/get-session")).body.session.expiresAt;
  assert(new Date(after) > new Date(before), "a refresh gives it more time");
  assertEquals((await listed(browser)).length, 1, "and it is listed once");
}

const engines: Record<string, (use: (store: AtomicStore) => Promise<void>) => Promise<void>> = {
  "memory": (use) => use(memoryStore()),
  async "Deno KV"(use) {
    using kv = await Deno.openKv(":memory:");
    await use(denoKvStore(kv));
  },
  async "Upstash"(use) {
    await using redis = await startRedis();
    await using upstash = await startUpstash(redis.port);
    await use(upstashStore({ url: upstash.url, token: upstash.token }));
  },
};

for (const [engine, open] of Object.entries(engines)) {
  Deno.test(`better-auth on ${engine}: sign-up, sign-in, list, revoke, refresh, reset, rate limit`, () =>
    open((store) => flow(betterAuthStorage(store, { secret }))));

  Deno.test(`better-auth on ${engine}: six concurrent sign-ins are six sessions, and revoking ends them all`, async () => {
    await open(async (store) => {
      const ours = await concurrentSignIns(betterAuthStorage(store, { secret }));
      const map = await concurrentSignIns(mapStorage());
      report(
        `six concurrent sign-ins: ${engine} lists ${ours.listed}, ${ours.survivors} survive revoking; ` +
          `a plain Map lists ${map.listed}, ${map.survivors} survive`,
      );
      assertEquals(ours, { listed: 7, survivors: 0 });
      assert(map.listed < 7, "a plain Map loses some");
    });
  });

  Deno.test(`better-auth on ${engine}: a refresh under way does not undo a revocation`, async () => {
    await open(async (store) => {
      const ours = await refreshDuringRevoke(betterAuthStorage(store, { secret }));
      const map = await refreshDuringRevoke(mapStorage());
      report(
        `a refresh during a revocation: ${engine}: ${ours ?? "signed out"}; a plain Map: ${
          map ?? "signed out"
        }`,
      );
      assertEquals(ours, undefined);
      assertEquals(map, ada.email, "a plain Map brings it back");
    });
  });
}

/** The number of sessions listed, and of those that still work after all others were revoked. */
async function concurrentSignIns(storage: BetterAuthStorage): Promise<{ listed: number; survivors: number }> {
  const auth = startAuth(remote(storage));
  const owner = auth.browser();
  await owner.call("/sign-up/email", ada);
  const browsers = await Promise.all(Array.from({ length: 6 }, () => signIn(auth.browser())));
  const count = (await listed(owner)).length;
  await owner.call("/revoke-other-sessions", {});
  const users = await Promise.all(browsers.map((browser) => browser.user()));
  return { listed: count, survivors: users.filter((user) => user !== undefined).length };
}

/** The user signed in after a refresh stored what it had read before the session was revoked. */
async function refreshDuringRevoke(storage: BetterAuthStorage): Promise<string | undefined> {
  let stepIn: (() => Promise<unknown>) | undefined;
  const auth = startAuth(
    remote(storage, async (call, key) => {
      const step = stepIn;
      if (step === undefined || call !== "set" || key.includes("-")) return;
      stepIn = undefined;
      await step();
    }),
    { refreshes: true },
  );
  const owner = auth.browser();
  await owner.call("/sign-up/email", ada);
  const victim = await signIn(auth.browser());
  const { body: { session } } = await victim.copy().call("/get-session");
  stepIn = () => startAuthRevoke(owner, session.token);
  await victim.copy().call("/get-session");
  assertEquals(stepIn, undefined, "the refresh met the revocation");
  return await victim.copy().user();
}

async function startAuthRevoke(owner: Browser, token: string): Promise<void> {
  const { status } = await owner.call("/revoke-session", { token });
  assertEquals(status, 200, "revoke");
}

const token = "A".repeat(32);
const session = JSON.stringify({ session: { token, userId: "ada" }, user: {} });

Deno.test("betterAuthStorage() never stores a deleted token again, and merges lists, until they expire", async () => {
  const clock = new ManualClock();
  const { get, set, delete: remove, getAndDelete, increment } = betterAuthStorage(memoryStore({ clock }), {
    secret,
  });
  const entry = (token: string) => ({ token, expiresAt: clock.now() + 3_600_000 });
  const other = "B".repeat(32);
  await set("active-sessions-ada", JSON.stringify([entry(token)]), 3600);
  await set(token, session, 3600);
  await set("active-sessions-ada", JSON.stringify([entry(other)]), 3600); // who wrote this had not seen the first
  assertEquals(JSON.parse((await get("active-sessions-ada"))!).length, 2);
  await remove("active-sessions-ada");
  assertEquals(JSON.parse((await get("active-sessions-ada"))!).length, 2, "a list goes with its sessions");
  await remove(token);
  await set(token, session, 3600);
  await set("active-sessions-ada", JSON.stringify([entry(token), entry(other)]), 3600);
  assertEquals(await get(token), null, "deleted");
  assertEquals(JSON.parse((await get("active-sessions-ada"))!), [entry(other)], "not listed");
  assertEquals(await getAndDelete(token), null);
  await remove("C".repeat(32));
  await set("C".repeat(32), session, 3600);
  assertEquals(await get("C".repeat(32)), null, "what is on its way when it is deleted never arrives");
  await clock.advance(3_600_000);
  assertEquals(await get("active-sessions-ada"), null, "expired");
  assertEquals([await increment("ip|/path", 60), await increment("ip|/path", 60)], [1, 2]);
  assertEquals(await get("ip|/path"), "2", "a counter reads as a text");
  await clock.advance(60_000);
  assertEquals(await increment("ip|/path", 60), 1, "its window is fixed by the first");
  await set("verification:a", "{}", 0);
  assertEquals(await get("verification:a"), null, "no time left");
  await set("verification:a", "{}");
  const taken = await Promise.all(Array.from({ length: 5 }, () => getAndDelete("verification:a")));
  assertEquals(taken.filter((value) => value !== null), ["{}"]);
});

Deno.test("betterAuthStorage() accepts every key of better-auth, and refuses an invalid store or list", async () => {
  const storage = betterAuthStorage(memoryStore(), { secret });
  for (
    const key of [
      "2001:db8::1|/sign-in/email",
      "verification:a@b.c",
      "api-key:by-ref:1",
      "__proto__",
      "constructor",
    ]
  ) {
    assertEquals(await storage.get(key), null);
    await storage.set(key, "value", 60);
    assertEquals(await storage.get(key), "value");
  }
  assertThrows(() => betterAuthStorage({} as AtomicStore, { secret }), TypeError);
  for (const options of [{ secret: "too short" }, {}, { secret, nmae: "x" }, undefined]) {
    assertThrows(() => betterAuthStorage(memoryStore(), options as { secret: string }), TypeError);
  }
  await assertRejects(() => storage.set("active-sessions-ada", "{}", 60), TypeError);
  await assertRejects(() => storage.set("key", "value", NaN), RangeError);
});
