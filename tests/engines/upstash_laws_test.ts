/** Every law on real Redis behind an endpoint of Upstash's: through our own transport and through the official SDK. */
import { Redis } from "@upstash/redis";
import type { AtomicStore } from "@holdfast/edge";
import { upstashStore, type UpstashStoreOptions } from "@holdfast/edge/upstash";
import { startRedis } from "../support/redis_server.ts";
import { startUpstash } from "../support/upstash_server.ts";
import { contracts } from "../support/contracts.ts";
import { lawKept } from "../support/law_table.ts";
import { inVirtualTime } from "../support/virtual_time.ts";

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
    const engines: Record<string, (options: UpstashStoreOptions) => AtomicStore> = {
      "Upstash, own transport": (options) => upstashStore({ url, token }, options),
      "Upstash, @upstash/redis": (options) => upstashStore(sdk, options),
    };
    for (const [engine, open] of Object.entries(engines)) {
      for (const [contract, laws] of Object.entries(contracts)) {
        for (const law of laws) {
          await t.step(`${engine}: ${contract}: ${law.name}`, async () => {
            const prefix = crypto.randomUUID();
            // Reads of many values and listings go by Redis' own expiry, which knows no virtual time.
            const subject = contract === "key-value store"
              ? { store: open({ prefix }), wait }
              : inVirtualTime((clock) => open({ prefix, virtualTime: () => clock.now() }));
            await law.run({ ...subject, listsTwice: true });
            lawKept(engine, contract);
          });
        }
      }
    }
  },
});
