/** Requirements of the table in `docs/security.md` that go beyond the laws. */
import { createSessions, HoldfastError, memoryStore, type SessionEvent } from "@holdfast/edge";
import { assert, assertEquals } from "../support/assert.ts";

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

Deno.test("every token is 32 bytes from the runtime's cryptographic source", async () => {
  let drawn = "";
  const original = crypto.getRandomValues;
  crypto.getRandomValues = ((array: Uint8Array) => {
    original.call(crypto, array);
    for (const byte of array) drawn += ALPHABET[byte & 63];
    return array;
  }) as typeof original;
  const tokens = new Set<string>();
  try {
    const sessions = createSessions(memoryStore());
    for (let i = 0; i < 200; i++) {
      const session = sessions.open(null);
      session.login("ada");
      tokens.add((await sessions.commit(session))!.split(";")[0]!.split("=")[1]!);
    }
  } finally {
    crypto.getRandomValues = original;
  }
  assertEquals(tokens.size, 200);
  assert([...tokens].every((token) => /^[A-Za-z0-9_-]{43}$/.test(token)));
  // 43 characters of six bits are more than 32 bytes. They are drawn for many tokens at a time, so the first ones here may
  // have been drawn before; the later ones are found in what was drawn, each in a place of its own.
  const places = [...tokens].slice(-100).map((token) => drawn.indexOf(token));
  assert(places.every((place) => place >= 0), "a token is of another source");
  const sorted = places.toSorted((a, b) => a - b);
  assert(sorted.every((place, i) => i === 0 || place >= sorted[i - 1]! + 43), "two tokens share characters");
});

Deno.test("a token travels in its cookie alone: no query, header or body is looked at", async () => {
  const sessions = createSessions(memoryStore());
  const session = sessions.open(null);
  session.login("ada");
  const cookie = (await sessions.commit(session))!.split(";")[0]!;
  const token = cookie.split("=")[1]!;
  const request = new Request(`https://example.com/?${cookie}&session=${token}`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "x-session": token, cookie: "other=1" },
    body: cookie,
  });
  assertEquals(await sessions.fromRequest(request).isNew(), true);
});

Deno.test("no event, error or stored key holds a token", async () => {
  const store = memoryStore();
  const said: unknown[] = [];
  const onEvent = (event: SessionEvent) => {
    said.push(event);
    throw new Error("a listener may throw"); // and decides nothing
  };
  const sessions = createSessions(store, { onEvent, maxSessionsPerUser: 1, whenFull: "reject" });
  const secrets: string[] = [];
  const commit = async (
    cookie: string | null,
    work: (session: ReturnType<typeof sessions.open>) => unknown,
  ) => {
    const session = sessions.open(cookie);
    try {
      await work(session);
      const answer = await sessions.commit(session);
      const value = answer?.replace(/;.*/, "").replace(/.*=/, "");
      if (value) secrets.push(value);
      session.set("late", 1);
    } catch (error) {
      said.push(error, (error as Error).message, (error as Error).stack, (error as Error).cause);
    }
    return `__Host-session=${secrets.at(-1)}`;
  };
  const cookie = await commit(null, (session) => session.login("ada"));
  await commit(null, (session) => session.login("ada")); // one too many
  await commit(cookie, (session) => session.set("x", () => {}));
  await commit(cookie, async (session) => secrets.push(await session.csrfToken()));
  await commit(cookie, (session) => session.verifyCsrfToken("no"));
  await commit(cookie, (session) => session.login("\ud800"));
  const rotated = await commit(cookie, (session) => session.rotate());
  await commit(cookie, (session) => session.set("x", 1));
  await commit(rotated, (session) => session.revoke());
  await commit(`__Host-session=${"A".repeat(43)}`, (session) => session.isNew());
  const text = JSON.stringify(said.map((what) => what instanceof Error ? `${what.stack}` : what));
  assert(
    said.some((what) => what instanceof HoldfastError) && said.some((what) => what instanceof TypeError),
  );
  for (const room of ["record", "user"]) {
    for await (const key of store.namespace("session").namespace(room).list()) said.push(key);
  }
  assert(secrets.length >= 3);
  for (const secret of secrets) {
    assert(!text.includes(secret));
    assert(!said.some((what) => typeof what === "string" && what.includes(secret)));
  }
});
