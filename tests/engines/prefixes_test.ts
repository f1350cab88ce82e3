/** The law of prefixes on every engine that runs in this process; inside workerd it runs in `tests/workerd/laws_test.ts`. */
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { prefixLaw, type PrefixSubject } from "@holdfast/edge/testing";
import { lawKept } from "../support/law_table.ts";

const engines: Record<string, () => Promise<PrefixSubject & Disposable>> = {
  "Deno KV": async () => {
    const kv = await Deno.openKv(":memory:");
    return { open: (prefix) => denoKvStore(kv, { prefix }), [Symbol.dispose]: () => kv.close() };
  },
};

for (const [engine, open] of Object.entries(engines)) {
  for (const law of prefixLaw) {
    Deno.test(`${engine}: prefixes: ${law.name}`, async () => {
      using subject = await open();
      await law.run(subject);
      lawKept(engine, "prefixes");
    });
  }
}
