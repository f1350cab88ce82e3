/** The simulation of a hot key: the committed plot and figures are what it gives, and it shows what queues must show. */
import { assert, assertEquals } from "../support/assert.ts";
import { generated } from "./hot_key/plot.ts";
import { hotKey } from "./hot_key/simulation.ts";

const root = new URL("../../", import.meta.url);

Deno.test("the plot and the figures of docs/engines/hot-keys.md are what the simulation gives", async () => {
  for (const [path, text] of Object.entries(await generated())) {
    assertEquals(await Deno.readTextFile(new URL(path, root)), text, path);
  }
});

Deno.test("a key that is always busy does one call in the time of a call; two queues do twice as many", async () => {
  const model = { service: 2, oneServer: false, compareAndSet: false, notifies: "never" } as const;
  const options = { model, contract: "counter", clients: 16, trip: 4, calls: 400 } as const;
  const one = await hotKey({ ...options, keys: 1 });
  assert(one.perSecond > 480 && one.perSecond <= 500, `${one.perSecond}`);
  assert(one.median > 31 && one.median < 33, `16 clients wait for each other: ${one.median}`);
  const two = await hotKey({ ...options, keys: 2 });
  assert(two.perSecond > 1.5 * one.perSecond && two.perSecond <= 1000, `${two.perSecond}`);
  const shared = await hotKey({ ...options, keys: 2, model: { ...model, oneServer: true } });
  assert(shared.perSecond <= 500, "one server for all keys gains nothing");
});

Deno.test("writers that lose repeat their work: more clients on one key do fewer calls", async () => {
  const model = { service: 1, oneServer: false, compareAndSet: true, notifies: "never" } as const;
  const options = { model, contract: "counter", keys: 1, trip: 4, calls: 120 } as const;
  const few = await hotKey({ ...options, clients: 2 });
  const many = await hotKey({ ...options, clients: 32 });
  assert(many.perSecond < few.perSecond, `${many.perSecond} and ${few.perSecond}`);
});
