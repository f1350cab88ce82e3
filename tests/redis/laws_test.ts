/** Every law on real Redis and on a real Redis Cluster, through the clients that people use. */
import { systemClock } from "@holdfast/edge";
import { redisStore } from "@holdfast/edge/redis";
import { prefixLaw } from "@holdfast/edge/testing";
import { contracts } from "../support/contracts.ts";
import { lawKept } from "../support/law_table.ts";
import { inVirtualTime } from "../support/virtual_time.ts";
import { startCluster, startRedis } from "../support/redis_server.ts";
import { clients, clusterClients, type Connected } from "./_clients.ts";

async function keepsEveryLaw(t: Deno.TestContext, engine: string, { client }: Connected): Promise<void> {
  let count = 0;
  for (const [contract, laws] of Object.entries(contracts)) {
    for (const law of laws) {
      await t.step(`${engine}: ${contract}: ${law.name}`, async () => {
        const prefix = `${engine} ${count++}`;
        // Reads of many values and listings go by Redis' own expiry, which knows no virtual time.
        const subject = contract === "key-value store"
          ? { store: redisStore(client, { prefix }), wait: (ms: number) => systemClock.sleep(ms + 2) }
          : inVirtualTime((clock) => redisStore(client, { prefix, virtualTime: () => clock.now() }));
        await law.run({ ...subject, listsTwice: true });
        lawKept(engine, contract);
      });
    }
  }
  for (const law of prefixLaw) {
    await t.step(`${engine}: prefixes: ${law.name}`, async () => {
      const tenant = `${count++}`;
      const open = (prefix: string) => {
        return redisStore(client, { prefix: typeof prefix === "string" ? tenant + prefix : prefix });
      };
      await law.run({ open });
      lawKept(engine, "prefixes");
    });
  }
}

const options = { sanitizeOps: false, sanitizeResources: false }; // the clients keep sockets and timers

Deno.test({
  name: "Redis keeps every law",
  ...options,
  async fn(t) {
    await using server = await startRedis();
    for (const [engine, connect] of Object.entries(clients)) {
      await using connected = await connect(server.port);
      await keepsEveryLaw(t, engine, connected);
    }
  },
});

Deno.test({
  name: "a Redis Cluster of three masters keeps every law",
  ...options,
  async fn(t) {
    await using cluster = await startCluster();
    for (const [engine, connect] of Object.entries(clusterClients)) {
      await using connected = await connect(cluster.ports);
      await keepsEveryLaw(t, engine, connected);
    }
  },
});
