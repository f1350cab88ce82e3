/** The calls whose costs are counted: a row of each table, prepared and then done. Runs in Deno and in workerd. */
import {
  type AtomicStore,
  createIdempotency,
  createLocks,
  createSessions,
  createThrottle,
  type KeyValueStore,
  type Sessions,
} from "@holdfast/edge";
import { createCache } from "@holdfast/edge/cache";
import { memoryMailer, outbox } from "@holdfast/edge/mail";
import { keyValueSessionStore } from "@holdfast/edge/sessions";

/** Prepares a call on a store; `round` names the keys that it uses. */
export type Work<Store> = (store: Store, round: string) => Promise<() => Promise<unknown>>;

/** The calls that every engine of values has. */
const VALUES: Readonly<Record<string, Work<KeyValueStore>>> = {
  "`get`": async (store, round) => {
    await store.set(round, 1);
    return () => store.get(round);
  },
  "`set`": (store, round) => Promise.resolve(() => store.set(round, 1)),
};

/** The calls on an atomic store. */
export const WORK: Readonly<Record<string, Work<AtomicStore>>> = {
  ...VALUES,
  "a throttle's `check`, three policies": async (store, round) => {
    const policies = [1, 2, 3].map((i) => ({ name: `p${i}`, limit: 1000, window: "1m" } as const));
    const throttle = createThrottle(store, { name: round, policies });
    await throttle.check("ada");
    return () => throttle.check("ada");
  },
  "a lock: `acquire` and `release`": (store, round) => {
    const locks = createLocks(store);
    return Promise.resolve(async () => await (await locks.acquire(round, { ttl: "30s" }))!.release());
  },
  "idempotency: `run`, new": (store, round) => {
    const idempotency = createIdempotency(store);
    return Promise.resolve(() => idempotency.run(round, () => 1));
  },
  "idempotency: `run`, repeated": async (store, round) => {
    const idempotency = createIdempotency(store);
    await idempotency.run(round, () => 1);
    return () => idempotency.run(round, () => 1);
  },
  "a session that is read": (store) => readSession(createSessions(store)),
  "a session that is read and written": (store) => writtenSession(createSessions(store)),
  "a cache's hit": async (store, round) => {
    const cache = createCache(store, { name: round });
    await cache.get("a", () => 1, { ttl: "1m" });
    return () => cache.get("a", () => 1, { ttl: "1m" });
  },
  "the outbox: `send`": (store, round) => {
    const queue = outbox(memoryMailer(), store, { name: round });
    const message = { from: "shop@example.com", to: "ada@example.com", subject: "Hello", text: "Hello" };
    return Promise.resolve(() => queue.send(message, { idempotencyKey: "order-17" }));
  },
};

/** The calls on a store that is no atomic one. */
export const VALUE_WORK: Readonly<Record<string, Work<KeyValueStore>>> = {
  ...VALUES,
  "a session that is read": (store) =>
    readSession(createSessions(keyValueSessionStore(store), { eventual: true })),
  "a session that is read and written": (store) =>
    writtenSession(createSessions(keyValueSessionStore(store), { eventual: true })),
};

/** Sessions with what these calls keep in them. */
type AnySessions = Sessions<Record<string, unknown>>;

async function readSession(sessions: AnySessions): Promise<() => Promise<unknown>> {
  const cookie = await begun(sessions);
  return () => sessions.open(cookie).get("theme");
}

async function writtenSession(sessions: AnySessions): Promise<() => Promise<unknown>> {
  const cookie = await begun(sessions);
  return async () => {
    const session = sessions.open(cookie);
    await session.update("theme", (theme) => `${theme}er`);
    await sessions.commit(session);
  };
}

async function begun(sessions: AnySessions): Promise<string> {
  const session = sessions.open(null);
  session.set("theme", "dark");
  return (await sessions.commit(session))!.split(";")[0]!;
}

/** Counts of each call, by unit. */
export type Counts = Record<string, Record<string, number>>;

/** Counted so often, on keys of its own each time. */
const ROUNDS = 3;

/**
 * Does each call after a first one of its kind, which teaches the server its scripts and the store its state. Of several rounds the
 * cheapest counts: a deadline is kept on a grid of seconds, and a call that just passes a line of it writes the deadline, too.
 */
export async function count<Store>(
  store: Store,
  work: Readonly<Record<string, Work<Store>>>,
  taken: () => Promise<Record<string, number>> | Record<string, number>,
): Promise<Counts> {
  const sum = (costs: Record<string, number>) => Object.values(costs).reduce((a, b) => a + b, 0);
  const counts: Counts = {};
  for (const [what, prepare] of Object.entries(work)) {
    await (await prepare(store, `warm ${what}`))();
    for (let round = 0; round < ROUNDS; round++) {
      const call = await prepare(store, `round ${round} of ${what}`);
      await taken();
      await call();
      const costs = await taken();
      if (round === 0 || sum(costs) < sum(counts[what]!)) counts[what] = costs;
    }
  }
  return counts;
}
