/** Stored and replicated sessions: a rotation beside a logout must not leave the user logged in. */
import { createSessions, memoryStore } from "@holdfast/edge";
import { keyValueSessionStore, replicatedSessions } from "@holdfast/edge/sessions";
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { upstashStore } from "@holdfast/edge/upstash";
import type { AtomicStore, Sessions } from "@holdfast/edge";
import type { IndexedSessionStore, ReplicationStrategy } from "@holdfast/edge/sessions";
import { assert, assertEquals } from "../support/assert.ts";
import { startRedis } from "../support/redis_server.ts";
import { startUpstash } from "../support/upstash_server.ts";
import { far, sent } from "./_sealed.ts";

type Stored = Sessions<Record<string, unknown>>;

async function login(sessions: Stored): Promise<string> {
  const session = sessions.open(null);
  session.login("ada");
  return sent(await sessions.commit(session));
}

async function rotate(sessions: Stored, cookie: string): Promise<string | undefined> {
  const session = sessions.open(cookie);
  await session.data();
  session.rotate();
  const answer = await sessions.commit(session);
  return answer === undefined ? undefined : sent(answer);
}

async function logout(sessions: Stored, cookie: string): Promise<void> {
  const session = sessions.open(cookie);
  session.revoke();
  await sessions.commit(session);
}

const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));

const alive = async (sessions: Stored, cookie: string) => await sessions.open(cookie).userId() !== undefined;

type Store = AtomicStore | (IndexedSessionStore & { readonly consistency: "atomic" });

/** Two sides at a distance, kept equal as the strategy says. */
const replicated =
  (strategy: ReplicationStrategy) => async (use: (store: Store) => Promise<void>): Promise<void> => {
    await using store = replicatedSessions(far(memoryStore()), far(memoryStore()), { strategy });
    await use(store);
  };

const engines: Record<string, (use: (store: Store) => Promise<void>) => Promise<void>> = {
  memory: (use) => use(far(memoryStore())),
  async "Deno KV"(use) {
    using kv = await Deno.openKv(":memory:");
    await use(denoKvStore(kv));
  },
  async Upstash(use) {
    await using redis = await startRedis();
    await using upstash = await startUpstash(redis.port);
    await use(upstashStore({ url: upstash.url, token: upstash.token }));
  },
  "replicated, async": replicated("async"),
  "replicated, acknowledged": replicated("acknowledged"),
  "replicated, sync": replicated("sync"),
};

for (const [engine, open] of Object.entries(engines)) {
  // On two sides a rotation is several times as many calls.
  const beat = engine.startsWith("replicated") ? 8 : 2;
  Deno.test(`logout race: ${engine}: a rotation in parallel to a logout ends with it, in either order`, () =>
    open(async (store) => {
      const sessions = createSessions(store);
      for (let i = 0; i < 20; i++) {
        const cookie = await login(sessions);
        const [one, two] = await Promise.all([
          rotate(sessions, cookie),
          rotate(sessions, cookie),
          // Now before, now between, now after what the rotations do.
          pause(beat * (i % 6)).then(() => logout(sessions, cookie)),
        ]);
        for (const made of [cookie, one, two]) {
          assert(made === undefined || !await alive(sessions, made), `round ${i}`);
        }
      }
    }));
}

Deno.test("logout race: a logout follows many rotations, and a login in between is a session of its own", async () => {
  for (const store of [memoryStore(), keyValueSessionStore(memoryStore())]) {
    const sessions = createSessions(store as AtomicStore, { eventual: true });
    const first = await login(sessions);
    let last = first;
    for (let i = 0; i < 5; i++) last = (await rotate(sessions, last))!;
    await logout(sessions, first);
    assertEquals(await alive(sessions, last), false);
    const mine = await login(sessions);
    const again = sessions.open(mine);
    again.login("ada");
    const next = sent(await sessions.commit(again));
    await logout(sessions, mine);
    assertEquals(
      await alive(sessions, next),
      true,
      "a login is not undone by the logout of what it replaced",
    );
  }
});
