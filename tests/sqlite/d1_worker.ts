/** Runs laws inside workerd, next to a D1 database. */
import { type D1Binding, d1Store } from "@holdfast/edge/sqlite";
import { contracts } from "../support/contracts.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { inVirtualTime } from "../support/virtual_time.ts";

const clock = new ManualClock();

export default {
  async fetch(request: Request, env: { readonly DB: D1Binding }): Promise<Response> {
    const { contract, index, prefix } = await request.json();
    try {
      const open = () => d1Store(env.DB, { prefix, virtualTime: () => clock.now() });
      if (contract === "migrate") await open().migrate();
      else await contracts[contract]![index]!.run(inVirtualTime(open, clock));
      return Response.json({});
    } catch (error) {
      const { name, message, stack } = error as Error;
      return Response.json({ error: { name, message, stack } });
    }
  },
};
