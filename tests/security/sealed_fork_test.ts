/**
 * Parallel requests with one sealed cookie try to end up with two sessions, or with one that outlives a
 * logout.
 */
import { Hono } from "hono";
import { memoryStore } from "@holdfast/edge";
import { createSealedSessions } from "@holdfast/edge/sessions";
import { session, type SessionVariables } from "@holdfast/edge/hono";
import { upstashStore } from "@holdfast/edge/upstash";
import { ManualClock } from "../support/manual_clock.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { startRedis } from "../support/redis_server.ts";
import { startUpstash } from "../support/upstash_server.ts";
import { far, KEYS, login, type Sealed, sealedOn, sent } from "./_sealed.ts";

/** Rotates after having looked, and answers the new cookie, if there is one. */
async function rotate(sessions: Sealed, cookie: string): Promise<string | undefined> {
  const session = sessions.open(cookie);
  await session.data();
  session.rotate();
  const answer = await sessions.commit(session);
  return answer === undefined ? undefined : sent(answer);
}

async function logout(sessions: Sealed, cookie: string): Promise<undefined> {
  const session = sessions.open(cookie);
  session.revoke();
  await sessions.commit(session);
}

const alive = async (sessions: Sealed, cookie: string) => await sessions.open(cookie).userId() !== undefined;

async function living(sessions: Sealed, cookies: Iterable<string | undefined>): Promise<string[]> {
  const found: string[] = [];
  for (const cookie of new Set(cookies)) {
    if (cookie !== undefined && await alive(sessions, cookie)) found.push(cookie);
  }
  return found;
}

Deno.test("sealed fork: 1,000 parallel rotations and logouts leave at most one session, and none after a logout", async () => {
  const sessions = sealedOn();
  const all = new Set<string>([await login(sessions)]);
  let won = 0;
  for (let round = 0; round < 20; round++) {
    if ((await living(sessions, all)).length === 0) {
      all.clear();
      all.add(await login(sessions));
    }
    const known = [...all].slice(-4);
    const logsOut = round % 4 === 3;
    const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => {
      const cookie = known[i % known.length]!;
      return logsOut && i % 7 === 0 ? logout(sessions, cookie) : rotate(sessions, cookie);
    }));
    for (const cookie of answers) {
      if (cookie === undefined) continue;
      all.add(cookie);
      won++;
    }
    const left = await living(sessions, all);
    assert(left.length <= 1, `round ${round}: ${left.length} live sessions`);
    if (logsOut) assertEquals(left, [], `round ${round}: a logout leaves none`);
  }
  assert(won >= 10, `rotations did happen: ${won}`);
});

Deno.test("sealed fork: of two parallel rotations one wins, and its session goes on", async () => {
  for (let i = 0; i < 50; i++) {
    const sessions = sealedOn();
    const cookie = await login(sessions);
    const cookies = (await Promise.all([rotate(sessions, cookie), rotate(sessions, cookie)])).filter((c) =>
      c !== undefined
    );
    assertEquals(cookies.length, 1);
    assertEquals([await alive(sessions, cookie), await alive(sessions, cookies[0]!)], [false, true]);
    assert(await rotate(sessions, cookies[0]!) !== undefined, "and rotates again");
  }
});

Deno.test("sealed fork: a rotation or a write in parallel to a logout ends with it, in either order", async () => {
  for (let i = 0; i < 50; i++) {
    const sessions = sealedOn();
    const cookie = await login(sessions);
    const write = async () => {
      const session = sessions.open(cookie);
      await session.data();
      session.set("x", i);
      const answer = await sessions.commit(session);
      return answer === undefined ? undefined : sent(answer);
    };
    const made = await Promise.all([rotate(sessions, cookie), write(), logout(sessions, cookie)]);
    assertEquals(await living(sessions, [cookie, ...made]), []);
  }
});

Deno.test("sealed fork: a logout with a cookie that was rotated away ends what the rotation made", async () => {
  const sessions = sealedOn();
  const first = await login(sessions);
  const second = await rotate(sessions, first);
  const third = await rotate(sessions, second!);
  await logout(sessions, first);
  assertEquals(await living(sessions, [first, second, third]), []);
});

Deno.test("sealed fork: a slow request that only reads sets no cookie, whatever happened meanwhile", async () => {
  const clock = new ManualClock();
  for (const revocation of [undefined, memoryStore({ clock })]) {
    const sessions = createSealedSessions({ keys: [KEYS[0]], clock, ...(revocation && { revocation }) });
    const first = sessions.open(null);
    first.login("ada");
    const cookie = sent(await sessions.commit(first));
    const slow = sessions.open(cookie);
    assertEquals(await slow.userId(), "ada");
    const out = sessions.open(cookie);
    out.revoke();
    await sessions.commit(out);
    await clock.advance(120_000); // long enough that it would be touched
    assertEquals(await sessions.commit(slow), undefined);
  }
});

Deno.test("sealed fork: no clock but the store's decides what a revocation ends", async () => {
  for (const skew of [-10_000, -3_000, 3_000, 10_000]) {
    const clock = new ManualClock();
    const revocation = memoryStore({ clock });
    const ahead = {
      ...clock,
      now: () => clock.now() + skew,
      monotonic: () => clock.monotonic(),
      sleep: () => Promise.resolve(),
    };
    const sessions = createSealedSessions({ keys: [KEYS[0]], clock: ahead, revocation });
    const made = async (user?: string) => {
      const session = sessions.open(null);
      if (user === undefined) session.set("x", 1);
      else session.login(user);
      return sent(await sessions.commit(session));
    };
    const [ada, bob, anonymous] = [await made("ada"), await made("bob"), await made()];
    await sessions.revokeUser("ada");
    const state = async () => [
      await sessions.open(ada).isNew(),
      await sessions.open(bob).isNew(),
      await sessions.open(anonymous).isNew(),
    ];
    assertEquals(await state(), [true, false, false], `skew ${skew}: revokeUser`);
    const again = await made("ada");
    assertEquals(await sessions.open(again).userId(), "ada", `skew ${skew}: a new login`);
    await sessions.revokeAll();
    assertEquals(await state(), [true, true, true], `skew ${skew}: revokeAll`);
    assertEquals(await sessions.open(again).isNew(), true, `skew ${skew}: revokeAll`);
    assertEquals(await sessions.open(await made("ada")).userId(), "ada", `skew ${skew}: and after it`);
  }
});

Deno.test("sealed fork: the session that revokeUser spares survives its rotations and its writes, until the next revocation", async () => {
  const sessions = sealedOn();
  const [mine, other] = [await login(sessions), await login(sessions)];
  await sessions.revokeUser("ada", { except: await sessions.open(mine).handle() });
  let cookie = mine;
  for (let i = 0; i < 3; i++) cookie = (await rotate(sessions, cookie))!;
  const writer = sessions.open(cookie);
  writer.set("x", 1);
  await writer.data();
  cookie = sent(await sessions.commit(writer));
  assertEquals([await alive(sessions, cookie), await alive(sessions, other)], [true, false]);
  await sessions.revokeUser("ada");
  assertEquals(await alive(sessions, cookie), false);
});

Deno.test("sealed fork: over HTTP, on a real Redis: rotations and logouts at once", async () => {
  await using redis = await startRedis();
  await using upstash = await startUpstash(redis.port);
  const revocation = upstashStore({ url: upstash.url, token: upstash.token });
  const app = new Hono<{ Variables: SessionVariables }>();
  app.use(session({ sessions: createSealedSessions({ keys: [KEYS[0]], revocation }) }));
  app.post("/login", (c) => {
    c.var.session.login("ada");
    return c.text("");
  });
  app.post("/rotate", async (c) => {
    await c.var.session.data();
    c.var.session.rotate();
    return c.text("");
  });
  app.post("/logout", (c) => {
    c.var.session.revoke();
    return c.text("");
  });
  app.get("/", async (c) => c.text(await c.var.session.userId() ?? "nobody"));
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, app.fetch);
  const ask = async (method: string, path: string, cookie = "") => {
    const response = await fetch(`http://127.0.0.1:${server.addr.port}${path}`, {
      method,
      headers: { cookie },
    });
    const cookies = response.headers.getSetCookie();
    return { text: await response.text(), cookie: cookies[0]?.split(";")[0] };
  };
  try {
    for (let round = 0; round < 10; round++) {
      const { cookie } = await ask("POST", "/login");
      const logsOut = round % 2 === 1;
      const answers = await Promise.all(
        Array.from({ length: 10 }, (_, i) => ask("POST", logsOut && i === 5 ? "/logout" : "/rotate", cookie)),
      );
      const made = answers.map(({ cookie }) => cookie).filter((c): c is string =>
        c !== undefined && !c.endsWith("=")
      );
      const users = await Promise.all(
        [cookie!, ...made].map(async (cookie) => (await ask("GET", "/", cookie)).text),
      );
      const alive = users.filter((user) => user === "ada").length;
      assertEquals(alive, logsOut ? 0 : 1, `round ${round}`);
    }
  } finally {
    await server.shutdown();
  }
});

Deno.test("sealed fork: an old cookie brings its values back until the next rotation: the bound that the docs state", async () => {
  const sessions = sealedOn(far(memoryStore()));
  const old = await login(sessions);
  const session = sessions.open(old);
  await session.update("tries", (tries) => Number(tries ?? 0) + 1);
  const counted = sent(await sessions.commit(session));
  assertEquals([await sessions.open(counted).get("tries"), await sessions.open(old).get("tries")], [
    1,
    undefined,
  ]);
  await rotate(sessions, counted);
  assertEquals([await alive(sessions, counted), await alive(sessions, old)], [false, false]);
});
