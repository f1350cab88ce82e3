/**
 * Serves the shop on this machine: `deno task start`. `PORT` is honoured.
 *
 *     deno task start                                 # Deno KV on disk: the carts outlive a restart
 *     deno task start --data=/var/lib/shop.sqlite3    # in another file
 *     deno task start --store=memory
 *     deno task start --store=upstash                 # UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN, or --url, --token;
 *                                                     # without them an endpoint of its own, where there is a redis-server
 */
import { parseArgs } from "node:util";
import { type AtomicStore, memoryStore } from "@holdfast/edge";
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { upstashStore } from "@holdfast/edge/upstash";
import { createShop } from "./shop.ts";

const port = Number(Deno.env.get("PORT") || 8000);
if (!(Number.isInteger(port) && port >= 0 && port <= 65535)) {
  fail(`PORT must be a number between 0 and 65535: current value is ${Deno.env.get("PORT")}`);
}
const { store, close } = await openStore();
const shop = createShop({ store, secureCookies: false, unpluggable: true });

try {
  const server = Deno.serve({ port, hostname: "127.0.0.1", onListen }, shop.fetch);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => server.shutdown());
  }
  await server.finished;
  await close();
  Deno.exit(0);
} catch (error) {
  if (error instanceof Deno.errors.AddrInUse) {
    fail(`Port ${port} is in use: choose another one with PORT=8001`);
  }
  throw error;
}

async function openStore(): Promise<{ store: AtomicStore; close: () => unknown }> {
  const flags = options();
  switch (flags.store) {
    case "deno-kv": {
      const path = flags.data ?? new URL("../../.cache/shop.sqlite3", import.meta.url).pathname;
      Deno.mkdirSync(path.replace(/[^/]*$/, "") || ".", { recursive: true });
      const kv = await Deno.openKv(path);
      return { store: denoKvStore(kv), close: () => kv.close() };
    }
    case "memory":
      return { store: memoryStore(), close() {} };
    case "upstash": {
      const url = flags.url ?? Deno.env.get("UPSTASH_REDIS_REST_URL");
      const token = flags.token ?? Deno.env.get("UPSTASH_REDIS_REST_TOKEN");
      if (url && token) return { store: upstashStore({ url, token }), close() {} };
      if (url || token) fail("--store=upstash needs a token and a url: only one of them is given");
      const { localUpstash } = await import("./local_upstash.ts");
      const local = await localUpstash();
      if (local === undefined) {
        fail(
          "--store=upstash needs a redis-server on this machine, or UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN",
        );
      }
      return { store: upstashStore(local), close: () => local.close() };
    }
    default:
      return fail(`--store must be deno-kv, memory or upstash: current value is ${flags.store}`);
  }
}

function options(): { store: string; data?: string; url?: string; token?: string } {
  const string = { type: "string" } as const;
  try {
    const { values } = parseArgs({
      args: Deno.args,
      options: { store: { ...string, default: "deno-kv" }, data: string, url: string, token: string },
    });
    return values;
  } catch (error) {
    return fail((error as Error).message);
  }
}

function onListen({ port }: { port: number }): void {
  const url = `http://localhost:${port}`;
  // deno-lint-ignore no-console
  console.log(`The shop is open at ${url}, its state lives in ${store.engine}

Try, as often as you like:
  curl -i ${url}/api/flood
  curl -i -X POST ${url}/api/pay -H 'Idempotency-Key: "order-1"'
  curl -X POST ${url}/api/race
`);
}

function fail(message: string): never {
  // deno-lint-ignore no-console
  console.error(message);
  Deno.exit(1);
}
