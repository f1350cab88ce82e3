/** The laws of sessions and of session stores, over two stores that are one. */
import { memoryStore } from "@holdfast/edge";
import {
  type ReplicatedSessions,
  replicatedSessions,
  type ReplicationStrategy,
} from "@holdfast/edge/sessions";
import {
  type Law,
  sessionIndexLaw,
  sessionLaw,
  sessionStoreLaw,
  sessionUserLaw,
  type StoreSubject,
} from "@holdfast/edge/testing";
import { assertEquals } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";

const strategies: readonly ReplicationStrategy[] = ["async", "sync", "acknowledged"];
const laws: Record<string, readonly Law<StoreSubject<ReplicatedSessions>>[]> = {
  "session store": sessionStoreLaw,
  "session index": sessionIndexLaw.map(({ name, run }) => ({
    name,
    run: ({ store, ...subject }) => run({ ...subject, store: store.index }),
  })),
  "sessions": sessionLaw,
  "sessions of users": sessionUserLaw,
};

for (const strategy of strategies) {
  for (const [contract, list] of Object.entries(laws)) {
    for (const law of list) {
      Deno.test(`replicated, ${strategy}: ${contract}: ${law.name}`, async () => {
        const clock = new ManualClock();
        const store = replicatedSessions(memoryStore({ clock }), memoryStore({ clock }), {
          strategy,
          clock,
          outbox: memoryStore({ clock }),
        });
        await law.run({ store, clock, wait: (ms) => clock.advance(ms) });
        assertEquals(await store.close(), { pending: 0 });
      });
    }
  }
}
