/** Every law inside workerd, next to the bindings; and once more from outside, through the Worker over HTTP. */
import type { AtomicStore, KeyValueStore } from "@holdfast/edge";
import { keyValueStoreLaw, prefixLaw, type StoreSubject } from "@holdfast/edge/testing";
import { contracts } from "../support/contracts.ts";
import { lawKept } from "../support/law_table.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { inVirtualTime } from "../support/virtual_time.ts";
import { workerdTest } from "../support/workerd.ts";
import { assertEquals } from "../support/assert.ts";
import { httpAtomicStore, httpKeyValueStore, sender, startLawWorker } from "./_http_store.ts";

const TOKEN = crypto.randomUUID();
const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms + 2));

/** The error of a law that lists the keys, where every key has an object of its own. */
const NO_LIST = /with 'shards'/;

workerdTest("laws inside workerd", async (t) => {
  await using worker = await startLawWorker(TOKEN);
  const refused: string[] = [];
  for (const engine of ["Durable Objects", "Durable Objects, 4 shards", "Workers KV"]) {
    const all: Record<string, readonly { readonly name: string }[]> = { ...contracts, prefixes: prefixLaw };
    for (const [contract, laws] of Object.entries(all)) {
      if (engine === "Workers KV" && contract !== "key-value store" && contract !== "prefixes") continue;
      for (const [index, law] of laws.entries()) {
        await t.step(`${engine}: ${contract}: ${law.name}`, async () => {
          const response = await worker.fetch("/law", {
            method: "POST",
            headers: { authorization: `Bearer ${TOKEN}` },
            body: JSON.stringify({ engine, contract, index }),
          });
          const { error } = await response.json();
          if (engine === "Durable Objects" && error?.name === "TypeError" && NO_LIST.test(error.message)) {
            refused.push(law.name);
          } else if (error) throw new Error(error.stack);
          else lawKept(engine, contract);
        });
      }
    }
  }
  assertEquals(refused.filter((name) => keyValueStoreLaw.some((law) => law.name === name)), [
    "every string is a key, and no two strings are the same key",
    "a value expires at its deadline, for every method",
    "getMany() answers in the order of the keys",
    "list() answers the keys with a prefix, page by page",
    "list() neither loses nor repeats a key under concurrent inserts and deletes",
    "clear() empties a namespace and those inside it, and nothing else",
    "an invalid cursor, or one of another list, is a TypeError",
  ]);
});

workerdTest("laws from outside workerd, over HTTP", async (t) => {
  await using worker = await startLawWorker(TOKEN);
  const clock = new ManualClock();
  const objects = httpAtomicStore(sender(worker, TOKEN, "Durable Objects, virtual time", clock));
  const kv = httpKeyValueStore(sender(worker, TOKEN, "Workers KV"));
  const space = (store: KeyValueStore) => store.namespace(crypto.randomUUID()) as AtomicStore;
  const engines: Record<string, [() => StoreSubject<AtomicStore>, string[]]> = {
    "Durable Objects, over HTTP": [() => inVirtualTime(() => space(objects), clock), Object.keys(contracts)],
    "Workers KV, over HTTP": [() => ({ store: space(kv), wait }), ["key-value store"]],
  };
  for (const [engine, [subject, names]] of Object.entries(engines)) {
    for (const contract of names) {
      for (const law of contracts[contract]!) {
        await t.step(`${engine}: ${contract}: ${law.name}`, async () => {
          await law.run(subject());
          lawKept(engine, contract);
        });
      }
    }
  }
});
