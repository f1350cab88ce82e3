/**
 * Logouts and late effects with default options, as a scenario: it runs in every runtime. Each case answers
 * what a user of the same cookie sees, so that the runtimes can be compared.
 */
import { createSessions, HoldfastError } from "@holdfast/edge";
import {
  replicatedSessions,
  type ReplicatedSessionsOptions,
  type SessionChange,
  type SessionFound,
} from "@holdfast/edge/sessions";
import { ManualClock } from "../support/manual_clock.ts";
import { ControlledSide } from "./_sides.ts";

const CREATE: SessionChange = {
  type: "create",
  handle: "handle",
  idleTimeout: 3_600_000,
  absoluteTimeout: 7_200_000,
  schemaVersion: 1,
  values: { "d:a": "1" },
};

/** Two controlled sides, a store with the given options over them, and sessions. */
export function setUp(options: ReplicatedSessionsOptions = {}) {
  const clock = new ManualClock();
  const [primary, secondary] = [new ControlledSide(clock), new ControlledSide(clock)];
  const store = replicatedSessions(primary.store, secondary.store, { clock, ...options });
  const sessions = createSessions(store, { clock });
  return {
    clock,
    primary,
    secondary,
    store,
    sessions,
    /** Logs in, and answers the cookie. */
    async login(user = "ada"): Promise<string> {
      const session = sessions.open(null);
      session.login(user);
      const cookie = (await settled(clock, sessions.commit(session)))!;
      await settled(clock, store.flush());
      return cookie.split(";")[0]!;
    },
    /** Logs out. */
    async logout(cookie: string): Promise<void> {
      const session = sessions.open(cookie);
      session.revoke();
      await settled(clock, sessions.commit(session));
    },
    /** The user that the cookie stands for, and whether the answer is degraded. */
    async whoIs(cookie: string): Promise<[string | null, boolean]> {
      const session = sessions.open(cookie);
      return [await settled(clock, session.userId()) ?? null, await session.isDegraded()];
    },
    /** The records of both sides under a key. */
    async both(key: string) {
      return [
        withoutAge(await primary.inner.load(key)),
        withoutAge(await secondary.inner.load(key)),
      ] as const;
    },
  };
}

/** The answer of a store, without the time since a session ended. */
function withoutAge(found: SessionFound): SessionFound {
  const { ago: _, ...rest } = { ago: 0, ...found };
  return rest as SessionFound;
}

/** Lets time pass until the call answers. */
export async function settled<T>(clock: ManualClock, call: Promise<T>, step = 100): Promise<T> {
  let done = false;
  const watched = call.finally(() => done = true);
  watched.catch(() => {});
  for (let i = 0; !done && i < 1000; i++) await clock.advance(step);
  return await watched;
}

/** The code of the error that the call rejects with. */
async function codeOf(call: Promise<unknown>): Promise<string> {
  return await call.then(
    () => "none",
    (error) => error instanceof HoldfastError ? error.code : String(error),
  );
}

/** The cases, by name. */
export const cases: Readonly<Record<string, () => Promise<unknown>>> = {
  async "a logout holds although the primary restarted empty before it, and goes away after it"() {
    const { primary, login, logout, whoIs } = setUp();
    const cookie = await login();
    primary.forget();
    await logout(cookie);
    const answers = [await whoIs(cookie)];
    primary.mode = "down";
    // The copy has its tombstone: an end, not an outage.
    answers.push(await whoIs(cookie));
    return answers;
  },
  async "a logout holds although the primary is set back to the state before it"() {
    const { clock, primary, store, login, logout, whoIs, both } = setUp();
    const cookie = await login();
    const [key] = (await primary.inner.index.keys()).keys;
    const setBack = await primary.snapshot([key!]);
    await logout(cookie);
    setBack();
    const answers = [await whoIs(cookie)];
    await settled(clock, store.flush());
    return [...answers, (await both(key!)).map(({ state }) => state)];
  },
  async "a logout holds although the primary restarts empty after it"() {
    const { primary, login, logout, whoIs } = setUp();
    const cookie = await login();
    await logout(cookie);
    primary.forget();
    return [await whoIs(cookie)];
  },
  async "an ended session is refused on a primary that was set back unseen, while the secondary is away"() {
    const { clock, primary, secondary, store, login, logout, whoIs } = setUp();
    const cookie = await login();
    const mine = await login("bob");
    const [...keys] = (await primary.inner.index.keys()).keys;
    const setBack = await primary.snapshot(keys);
    await logout(cookie);
    setBack();
    secondary.mode = "down";
    const answers = [await codeOf(whoIs(cookie)), await codeOf(whoIs(mine))];
    secondary.mode = "up";
    await clock.advance(10_000);
    await settled(clock, store.flush());
    return [...answers, await whoIs(cookie), await whoIs(mine)];
  },
  async "a read asks the secondary twice before it is refused"() {
    const { clock, secondary, sessions, login } = setUp();
    const cookie = await login();
    secondary.asked();
    secondary.mode = "hanging";
    const user = sessions.open(cookie).userId();
    await clock.advance(1_999);
    secondary.mode = "up";
    return [await settled(clock, user), secondary.asked().slice(0, 2)];
  },
  async "`degrade` trusts a primary without an outage alone"() {
    const { clock, secondary, login, whoIs } = setUp({ whenUnavailable: "degrade" });
    const cookie = await login();
    await clock.advance(700_000);
    secondary.mode = "down";
    return await whoIs(cookie);
  },
  async "a tombstone that travels through the queue leads to the session that goes on"() {
    const answers: unknown[] = [];
    for (const away of ["primary", "secondary"] as const) {
      const sides = setUp();
      const { clock, store, primary, secondary, both } = sides;
      await store.save("key", CREATE);
      await settled(clock, store.flush());
      primary.delay = secondary.delay = 100;
      const rotation = store.delete("key", { why: "rotated", next: "successor" });
      const code = codeOf(rotation);
      await clock.advance(50); // both were asked, and will answer that they know it
      sides[away].mode = "down";
      await settled(clock, code);
      answers.push(await code, withoutAge(await settled(clock, store.load("key"))));
      sides[away].mode = "up";
      await clock.advance(10_000);
      await settled(clock, store.flush());
      answers.push(await both("key"));
    }
    return answers;
  },
  async "a tombstone that a shipment finds leads to the session that goes on"() {
    const { clock, store, secondary, both } = setUp();
    await store.save("key", CREATE);
    await settled(clock, store.flush());
    await secondary.inner.delete("key", { why: "rotated", next: "successor" });
    await store.save("key", { type: "update", set: { "d:a": "2" } });
    await settled(clock, store.flush());
    return await both("key");
  },
  async "a logout and a rotation that leave different tombstones: a read leads to the session that goes on"() {
    const { store, primary, secondary } = setUp();
    await primary.inner.delete("key", { why: "revoked", absent: "tombstone" });
    await secondary.inner.save("key", CREATE);
    await secondary.inner.delete("key", { why: "rotated", next: "successor" });
    return withoutAge(await store.load("key"));
  },
  async "a session lives on although the primary restarted empty, and its writes are kept"() {
    const { clock, primary, store, sessions, login, whoIs } = setUp();
    const cookie = await login();
    primary.forget();
    const answers = [await whoIs(cookie)];
    const session = sessions.open(cookie);
    session.set("theme", "dark");
    await settled(clock, sessions.commit(session));
    await settled(clock, store.flush());
    primary.mode = "down";
    return [...answers, await settled(clock, sessions.open(cookie).get("theme"))];
  },
  async "a save that takes effect 20 times later than its caller waits reaches the secondary"() {
    const { clock, primary, store, both } = setUp();
    await store.save("key", CREATE);
    await settled(clock, store.flush());
    primary.late = 20 * 2_000;
    const code = await codeOf(settled(clock, store.save("key", { type: "update", set: { "d:a": "2" } })));
    primary.late = undefined;
    await settled(clock, store.flush({ timeout: "1m" }));
    await clock.advance(60_000);
    await settled(clock, store.flush({ timeout: "1m" }));
    const [first, copy] = await both("key");
    return [
      code,
      JSON.stringify(first) === JSON.stringify(copy),
      first.state === "live" && first.record.values,
    ];
  },
  async "an effect that nothing looked for is found by the next read of another isolate"() {
    const { clock, primary, secondary, store, both } = setUp();
    await store.save("key", CREATE);
    await settled(clock, store.close());
    await primary.inner.save("key", { type: "update", set: { "d:a": "late" } });
    const other = replicatedSessions(primary.store, secondary.store, { clock });
    await other.load("key");
    await settled(clock, other.flush());
    const [first, copy] = await both("key");
    return JSON.stringify(first) === JSON.stringify(copy);
  },
  async "flush(), close() and a full queue work"() {
    const { clock, secondary, store } = setUp({ queueSize: 4 });
    secondary.mode = "hanging";
    for (const key of ["one", "two", "three"]) await store.save(key, { ...CREATE, handle: key });
    const code = await codeOf(settled(clock, store.save("four", CREATE)));
    const { pending } = await settled(clock, store.flush({ timeout: 50 }));
    secondary.mode = "up";
    return [code, pending, await settled(clock, store.close({ timeout: "30s" }))];
  },
  async "sync writes both sides in parallel: one delay, not two"() {
    const { clock, primary, secondary, store } = setUp({ strategy: "sync" });
    const times: number[] = [];
    primary.delay = secondary.delay = 100;
    for (const change of [CREATE, { type: "update", set: { "d:a": "2" } } as const]) {
      const before = clock.now();
      await settled(clock, store.save("key", change), 1);
      times.push(clock.now() - before);
    }
    const copies = await Promise.all([primary, secondary].map(({ inner }) => inner.load("key")));
    return [times.map((time) => time < 150), JSON.stringify(copies[0]) === JSON.stringify(copies[1])];
  },
};

/** Runs every case. */
export async function scenario(): Promise<Record<string, unknown>> {
  const answers: Record<string, unknown> = {};
  for (const [name, run] of Object.entries(cases)) answers[name] = await run();
  return answers;
}
