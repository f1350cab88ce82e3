/** A Worker of a user: a lock on Durable Objects, a value on Workers KV. */
import { createLocks } from "@holdfast/edge";
import { durableObjectStore } from "@holdfast/edge/durable-objects";
import { HoldfastObject } from "@holdfast/edge/durable-objects/object";
import { workersKvStore } from "@holdfast/edge/workers-kv";

export { HoldfastObject };

export default {
  async fetch(_request, env): Promise<Response> {
    const lock = await createLocks(durableObjectStore(env.HOLDFAST)).acquire("job", { ttl: "30s" });
    const store = workersKvStore(env.CACHE);
    await store.set("apples", { count: 3 }, { ttl: "1h" });
    const apples = await store.get<{ count: number }>("apples");
    return Response.json([lock !== undefined, await lock?.release(), apples?.count]);
  },
} satisfies ExportedHandler<Env>;
