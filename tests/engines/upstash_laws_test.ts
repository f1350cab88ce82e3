/** Every law on real Redis behind an endpoint of Upstash's: through our own transport and through the official SDK. */
import { Redis } from "@upstash/redis";
import type { AtomicStore } from "@holdfast/edge";
import { upstashStore } from "@holdfast/edge/upstash";
import { startRedis } from "../support/redis_server.ts";
import { startUpstash } from "../support/upstash_server.ts";
import { contracts } from "../support/contracts.ts";
import { lawKept } from "../support/law_table.ts";

const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms + 2));

Deno.test({
  name: "laws on Redis",
  sanitizeOps: false, // the SDKs keep sockets and timers
  sanitizeResources: false,
  async fn(t) {
    await using redis = await startRedis();
    await using upstash = await startUpstash(redis.port);
    const { url, token } = upstash;
    const sdk = new Redis({ url, token, enableTelemetry: false });
    const engines: Record<string, AtomicStore> = {
      "Upstash, own transport": upstashStore({ url, token }, { prefix: "own:" }),
      "Upstash, @upstash/redis": upstashStore(sdk, { prefix: "sdk:" }),
    };
    for (const [engine, store] of Object.entries(engines)) {
      for (const [contract, laws] of Object.entries(contracts)) {
        for (const law of laws) {
          await t.step(`${engine}: ${contract}: ${law.name}`, async () => {
            await law.run({ store: store.namespace(crypto.randomUUID()), wait, listsTwice: true });
            lawKept(engine, contract);
          });
        }
      }
    }
  },
});
