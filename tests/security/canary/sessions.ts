import { createSessions, memoryStore, type SessionEvent } from "@holdfast/edge";
import { atomicSessionStore, createSealedSessions, keyValueSessionStore } from "@holdfast/edge/sessions";
import { problem, requireCsrfToken, requireFresh, session } from "@holdfast/edge/hono";
import { failure, type Held } from "./_held.ts";

export async function held(): Promise<Held> {
  const secret = "SealingKeyCanary".padEnd(43, "A");
  const keys = [{ id: "a", secret }] as const;
  const events: SessionEvent[] = [];
  const onEvent = (event: SessionEvent) => events.push(event);
  const memory = memoryStore();
  const store = atomicSessionStore(memory);
  const stored = createSessions(store, { onEvent, maxSessionsPerUser: 2, whenFull: "reject" });
  const sealed = createSealedSessions({ keys, onEvent });
  const revocable = createSealedSessions({ keys, revocation: memoryStore(), onEvent });
  const objects: Record<string, unknown> = {
    store,
    "a key-value store": keyValueSessionStore(memoryStore()),
    stored,
    sealed,
    revocable,
    events,
    middleware: [session({ sessions: stored }), requireFresh("5m"), requireCsrfToken()],
    problem: problem(403, "no"),
  };
  const secrets = [secret];
  for (const [kind, sessions] of Object.entries({ stored, sealed, revocable })) {
    const hold = async (
      name: string,
      header: string | null,
      work: (s: ReturnType<typeof sessions.open>) => unknown,
    ) => {
      const opened = sessions.open(header);
      objects[`${kind}, ${name}, before`] = opened;
      await work(opened);
      const answer = await sessions.commit(opened);
      objects[`${kind}, ${name}`] = opened;
      const cookie = answer?.split(";")[0];
      if (cookie !== undefined && !cookie.endsWith("=")) secrets.push(cookie.split("=")[1]!);
      return cookie;
    };
    const cookie = await hold("new", null, async (s) => {
      secrets.push(await s.csrfToken());
      s.set("password", "ValueCanary-of-ada");
      s.login("ada");
      secrets.push(await s.csrfToken());
    });
    secrets.push("ValueCanary-of-ada");
    const next = await hold("rotated", cookie!, async (s) => {
      await s.data();
      s.rotate();
    });
    const request = new Request("https://shop.test/", { headers: { cookie: next! } });
    const bound = sessions.fromRequest(request);
    await bound.data();
    objects[`${kind}, bound`] = bound;
    objects[`${kind}, a committed change`] = await failure(async () => {
      await bound.commit(new Response());
      bound.set("x", 1);
    });
    objects[`${kind}, of others`] = await failure(() => sessions.commit({} as never));
    objects[`${kind}, a bad value`] = await failure(() => sessions.open(next!).set("x", () => {}));
    objects[`${kind}, a bad option`] = await failure(() =>
      sessions.commit(sessions.open(next!), { fialed: true } as object)
    );
    await hold("conflict", cookie!, async (s) => {
      await s.data();
      s.set("x", 1);
    });
    await hold("revoked", next!, (s) => s.revoke());
  }
  for (let i = 0; i < 2; i++) await login(stored, secrets);
  objects["the limit"] = await failure(() => login(stored, secrets));
  objects["a list"] = await stored.listSessions("ada");
  objects["a record"] = await store.index.keys();
  objects["a bad key"] = await failure(() =>
    createSealedSessions({ keys: [{ id: "a", secret: "ShortKeyCanary" }] })
  );
  objects["too large"] = await failure(async () => {
    const large = sealed.open(null);
    large.set("x", "ValueCanary-of-ada".repeat(400));
    await sealed.commit(large);
  });
  secrets.push("ShortKeyCanary");
  return { objects, secrets };
}

async function login(sessions: ReturnType<typeof createSessions>, secrets: string[]): Promise<void> {
  const session = sessions.open(null);
  session.login("ada");
  const cookie = await sessions.commit(session);
  secrets.push(cookie!.split(";")[0]!.split("=")[1]!);
}
