/** An attacker reads the whole store: no key and no value may be good for logging in. */
import { createSessions, memoryStore } from "@holdfast/edge";
import { createSealedSessions } from "@holdfast/edge/sessions";
import { betterAuthStorage } from "@holdfast/edge/better-auth";
import { upstashStore } from "@holdfast/edge/upstash";
import { startAuth } from "../better_auth/_auth.ts";
import { assert, assertEquals, assertRejects } from "../support/assert.ts";
import { startRedis } from "../support/redis_server.ts";
import { RespConnection } from "../support/resp.ts";
import { startUpstash } from "../support/upstash_server.ts";
import { KEYS } from "./_sealed.ts";

/** Every key of a Redis with all that it holds, as one text. */
async function dump(port: number): Promise<string> {
  const connection = await RespConnection.open(port);
  const decoder = new TextDecoder();
  const text = (reply: unknown): string =>
    reply instanceof Uint8Array
      ? decoder.decode(reply)
      : Array.isArray(reply)
      ? reply.map(text).join("\n")
      : String(reply);
  try {
    const [keys] = await connection.send(["KEYS", "*"]);
    const names = (keys as Uint8Array[]).map(text);
    const parts = [...names];
    for (const name of names) {
      const [type] = await connection.send(["TYPE", name]);
      const [value] = await connection.send([text(type) === "hash" ? "HGETALL" : "GET", name]);
      parts.push(text(value));
    }
    return parts.join("\n");
  } finally {
    connection.close();
  }
}

Deno.test("tokens at rest: better-auth on a real Redis: no session token, reset token or user in any key or value", async () => {
  await using redis = await startRedis();
  await using upstash = await startUpstash(redis.port);
  const store = upstashStore({ url: upstash.url, token: upstash.token });
  const secret = "a-secret-of-at-least-32-characters-for-the-tests";
  const auth = startAuth(betterAuthStorage(store, { secret }));
  const browser = auth.browser();
  const ada = { email: "ada@example.com", password: "correct horse", name: "Ada" };
  assertEquals((await browser.call("/sign-up/email", ada)).status, 200);
  await auth.browser().call("/sign-in/email", ada);
  await auth.browser().call("/request-password-reset", { email: ada.email, redirectTo: "/reset" });
  const { body: { session } } = await browser.call("/get-session");
  const listed = (await browser.call("/list-sessions")).body as { token: string }[];
  const secrets = [
    session.token,
    auth.mailed()!,
    ...listed.map(({ token }) => token),
    ada.email,
    session.userId,
  ];
  assert(listed.length === 2 && secrets.every((secret) => typeof secret === "string" && secret.length >= 10));
  const all = await dump(redis.port);
  assert(all.length > 500, "the store holds what it should");
  for (const secret of secrets) assert(!all.includes(secret), "a secret stands in the store");
});

Deno.test("tokens at rest: another secret reads nothing, and a value moved to another key opens nothing", async () => {
  const store = memoryStore();
  const secret = "a-secret-of-at-least-32-characters-for-the-tests";
  const storage = betterAuthStorage(store, { secret });
  await storage.set("verification:ada", "for ada", 60);
  await storage.set("verification:eve", "for eve", 60);
  const other = betterAuthStorage(store, { secret: secret.toUpperCase() });
  assertEquals(await other.get("verification:ada"), null);
  const values = store.namespace("better-auth").namespace("value");
  const keys: string[] = [];
  for await (const key of values.list()) keys.push(key);
  const [one, two] = [await values.get(keys[0]!), await values.get(keys[1]!)];
  await values.set(keys[0]!, two);
  await values.set(keys[1]!, one);
  await assertRejects(() => storage.get("verification:ada"));
});

Deno.test("tokens at rest: sessions: a store holds hashes alone, after every kind of change", async () => {
  const seen: string[] = [];
  const store = new Proxy(memoryStore(), {
    get(target, name) {
      const value = Reflect.get(target, name);
      if (name === "namespace") return (part: string) => watched(target.namespace(part));
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  function watched(inner: typeof store): typeof store {
    return new Proxy(inner, {
      get(target, name) {
        const value = Reflect.get(target, name);
        if (name === "namespace") return (part: string) => watched(target.namespace(part));
        if (name !== "transact") return typeof value === "function" ? value.bind(target) : value;
        return async (...args: Parameters<typeof target.transact>) => {
          const output = await target.transact(...args);
          seen.push(JSON.stringify([args[1], args[2], output]));
          return output;
        };
      },
    });
  }
  const kinds = [createSessions(store), createSealedSessions({ keys: [KEYS[0]], revocation: store })];
  const secrets: string[] = [];
  for (const sessions of kinds) {
    let cookie = "";
    for (const step of ["login", "rotate", "csrfToken", "revoke"] as const) {
      const session = sessions.open(cookie);
      await session.data();
      if (step === "login") session.login("ada");
      else if (step === "csrfToken") secrets.push(await session.csrfToken());
      else session[step]();
      const answer = await sessions.commit(session);
      if (answer === undefined) continue;
      cookie = answer.split(";")[0]!;
      if (!cookie.endsWith("=")) secrets.push(cookie.split("=")[1]!);
    }
  }
  assert(secrets.length >= 6 && seen.length > 10);
  for (const secret of secrets) {
    assert(!seen.some((text) => text.includes(secret)), "a token reached the store");
  }
});
