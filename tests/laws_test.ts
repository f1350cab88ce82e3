/** Every law on every engine. */
import { type AtomicStore, type Clock, memoryStore } from "@holdfast/edge";
import {
  atomicStoreLaw,
  idempotencyLaw,
  keyValueStoreLaw,
  type Law,
  lockLaw,
  sessionLaw,
  type StoreSubject,
  throttleLaw,
} from "@holdfast/edge/testing";
import { compareAndSetStore } from "./support/cas_engine.ts";
import { ManualClock } from "./support/manual_clock.ts";

const engines: Record<string, (clock: Clock) => AtomicStore> = {
  "memory": (clock) => memoryStore({ clock }),
  "memory, in a namespace": (clock) => memoryStore({ clock }).namespace("tenant:1"),
  "compare-and-set": compareAndSetStore,
};

const laws: Record<string, readonly Law<StoreSubject<AtomicStore>>[]> = {
  "key-value store": keyValueStoreLaw,
  "atomic store": atomicStoreLaw,
  "locks": lockLaw,
  "idempotency": idempotencyLaw,
  "throttle": throttleLaw,
  "sessions": sessionLaw,
};

for (const [engine, open] of Object.entries(engines)) {
  for (const [contract, list] of Object.entries(laws)) {
    for (const law of list) {
      Deno.test(`${engine}: ${contract}: ${law.name}`, async () => {
        const clock = new ManualClock();
        await law.run({ store: open(clock), clock, wait: (ms) => clock.advance(ms) });
      });
    }
  }
}
