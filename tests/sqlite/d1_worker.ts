/** Runs laws inside workerd, next to a D1 database. */
import { type D1Binding, d1Store } from "@holdfast/edge/sqlite";
import { contracts } from "../support/contracts.ts";
import { ManualClock } from "../support/manual_clock.ts";

const clock = new ManualClock();

export default {
  async fetch(request: Request, env: { readonly DB: D1Binding }): Promise<Response> {
    const { contract, index, prefix } = await request.json();
    try {
      const store = d1Store(env.DB, { prefix, virtualTime: () => clock.now() });
      if (contract === "migrate") await store.migrate();
      else await contracts[contract]![index]!.run({ store, clock, wait: (ms) => clock.advance(ms) });
      return Response.json({});
    } catch (error) {
      const { name, message, stack } = error as Error;
      return Response.json({ error: { name, message, stack } });
    }
  },
};
