/** Every law on every engine. */
import { type AtomicStore, type Clock, memoryStore } from "@holdfast/edge";
import { observedStore } from "@holdfast/edge/engine";
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { contracts } from "./support/contracts.ts";
import { compareAndSetStore } from "./support/cas_engine.ts";
import { lawKept } from "./support/law_table.ts";
import { ManualClock } from "./support/manual_clock.ts";
import { inVirtualTime } from "./support/virtual_time.ts";

/** Opens an engine on a clock; `close` gives back what it holds, `io` says that its calls take real time. */
type Opened = { store: AtomicStore; close?: () => void; io?: boolean };
const engines: Record<string, (clock: Clock) => Opened | Promise<Opened>> = {
  "memory": (clock) => ({ store: memoryStore({ clock }) }),
  "memory, in a namespace": (clock) => ({ store: memoryStore({ clock }).namespace("tenant:1") }),
  "memory, observed": (clock) => ({ store: observedStore(memoryStore({ clock }), { onOperation() {} }) }),
  "compare-and-set": (clock) => ({ store: compareAndSetStore(clock) }),
  "Deno KV": async (clock) => {
    const kv = await Deno.openKv(":memory:");
    return { store: denoKvStore(kv, { clock }), close: () => kv.close(), io: true };
  },
};

for (const [engine, open] of Object.entries(engines)) {
  for (const [contract, list] of Object.entries(contracts)) {
    for (const law of list) {
      Deno.test(`${engine}: ${contract}: ${law.name}`, async () => {
        const clock = new ManualClock();
        const { store, close, io } = await open(clock);
        try {
          await law.run(
            io ? inVirtualTime(() => store, clock) : { store, clock, wait: (ms) => clock.advance(ms) },
          );
          lawKept(engine, contract);
        } finally {
          close?.();
        }
      });
    }
  }
}
