/** A process that begins a fill and never ends it: `deno run _filler_process.ts <url> <token> <lease>`. It is to be killed. */
import { createCache } from "@holdfast/edge/cache";
import { upstashStore } from "@holdfast/edge/upstash";

const [url, token, lease] = Deno.args as [string, string, string];
const cache = createCache(upstashStore({ url, token }), { name: "killed", lease: Number(lease) });
await cache.get("key", async () => {
  await Deno.stdout.write(new TextEncoder().encode("filling"));
  return await new Promise<string>((resolve) => setTimeout(() => resolve("late"), 60_000));
}, { ttl: "1h" });
