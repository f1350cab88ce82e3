/** One of several processes that write to the same libSQL file: `deno run … FILE TIMES`. */
import { libsqlStore } from "@holdfast/edge/sqlite";
import { createLocks } from "@holdfast/edge";
import { createClient } from "@libsql/client";

const [file, times] = Deno.args;
const client = createClient({ url: `file:${file}`, timeout: 60_000 });
const store = libsqlStore(client);
const locks = createLocks(store);
const ids: string[] = [];
for (let i = 0; i < Number(times); i++) {
  await store.increment("count");
  ids.push(
    await locks.withLock("section", { ttl: "30s", wait: "60s" }, async (lock) => {
      // Two steps that only the lock keeps together.
      const before = await store.get<number>("sections") ?? 0;
      await store.set("sections", before + 1);
      return String(lock.fencingToken);
    }),
  );
}
client.close();
// deno-lint-ignore no-console
console.log(JSON.stringify(ids));
