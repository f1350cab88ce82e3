/** The shop on this process's own engines. */
import { type AtomicStore, memoryStore } from "@holdfast/edge";
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { createShop } from "../../examples/shop/shop.ts";
import { shopTests, visit } from "./_shop_tests.ts";

/** Opens an empty engine; `close` gives back what it holds. */
const engines: Record<string, () => Promise<{ store: AtomicStore; close?: () => void }>> = {
  "memory": () => Promise.resolve({ store: memoryStore() }),
  "Deno KV": async () => {
    const kv = await Deno.openKv(":memory:");
    return { store: denoKvStore(kv), close: () => kv.close() };
  },
};

for (const [engine, open] of Object.entries(engines)) {
  for (const [name, run] of shopTests) {
    Deno.test(`shop on ${engine}: ${name}`, async () => {
      const { store, close } = await open();
      const shop = createShop({ store, secureCookies: false });
      const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, shop.fetch);
      try {
        await visit(`http://127.0.0.1:${server.addr.port}`, run);
      } finally {
        await server.shutdown();
        close?.();
      }
    });
  }
}
