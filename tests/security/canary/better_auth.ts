import { memoryStore } from "@holdfast/edge";
import { betterAuthStorage } from "@holdfast/edge/better-auth";
import { failure, type Held } from "./_held.ts";

export async function held(): Promise<Held> {
  const secret = "BetterAuthCanary".padEnd(40, "x");
  const store = memoryStore();
  const storage = betterAuthStorage(store, { secret });
  const token = "TokenCanary".padEnd(32, "B");
  await storage.set(token, JSON.stringify({ session: { token, userId: "UserCanary-ada" } }), 60);
  await storage.set(
    "active-sessions-UserCanary-ada",
    JSON.stringify([{ token, expiresAt: Date.now() + 60_000 }]),
    60,
  );
  await storage.set(`verification:reset-password:${token}`, "ValueCanary", 60);
  const keys: string[] = [];
  const everything = store.namespace("better-auth");
  for (const part of ["token", "index", "value"]) {
    for await (const key of everything.namespace(part).list()) keys.push(key);
  }
  const stored = everything.namespace("value");
  const values = await stored.getMany((await stored.listPage()).keys);
  return {
    objects: {
      storage,
      keys,
      values,
      "a bad list": await failure(() => storage.set("active-sessions-UserCanary-ada", "{}", 60)),
      "a bad time": await failure(() => storage.set(token, "ValueCanary", NaN)),
      "a short secret": await failure(() => betterAuthStorage(store, { secret: "ShortCanary" })),
    },
    secrets: [secret, token, "UserCanary-ada", "ValueCanary", "ShortCanary"],
  };
}
