/**
 * Histories on Upstash: clients on pooled connections of which one request in five is broken, judged by a
 * checker of linearizability. `HISTORIES=1000` runs as many instead of 60; `SEED` repeats a run's choices.
 */
import { upstashStore } from "@holdfast/edge/upstash";
import { assert, assertEquals } from "../support/assert.ts";
import { Random } from "../support/random.ts";
import { startRedis } from "../support/redis_server.ts";
import { report } from "../support/report.ts";
import { startFaultyServer } from "./faulty_server.ts";
import { type Verdict, workloads } from "./workloads.ts";

const HISTORIES = Number(Deno.env.get("HISTORIES") ?? 60);
const AT_A_TIME = 10;
const FAULTS = 0.2;

Deno.test({
  name: "histories: every history of register, counter, lock and idempotency on Upstash is linearizable",
  sanitizeOps: false, // what contracts do in the background goes on for a while
  sanitizeResources: false,
  async fn(t) {
    const seed = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 2 ** 31));
    await using redis = await startRedis();
    using server = await startFaultyServer(redis.port, seed, FAULTS);
    const store = upstashStore(server);
    let allDoubtful = 0;
    for (const [name, workload] of Object.entries(workloads)) {
      await t.step(name, async () => {
        const verdicts: Verdict[] = [];
        let started = 0;
        const worker = async () => {
          while (started < HISTORIES / Object.keys(workloads).length) {
            const random = new Random(seed + started++);
            verdicts.push(await workload(store.namespace(crypto.randomUUID()), random));
          }
        };
        await Promise.all(Array.from({ length: AT_A_TIME }, worker));
        const wrong = verdicts.filter(({ linearizable }) => !linearizable);
        const total = (kind: keyof Verdict["counts"]) =>
          verdicts.reduce((sum, { counts }) => sum + counts[kind], 0);
        const [certain, doubtful, refused] = [total("certain"), total("doubtful"), total("refused")];
        report(
          `${name}: ${verdicts.length} histories, ${wrong.length} not linearizable; ` +
            `${certain} calls answered, ${doubtful} in doubt, ${refused} refused`,
        );
        allDoubtful += doubtful;
        const shown = wrong[0]?.operations.toSorted((a, b) => a.called - b.called).map((one) =>
          JSON.stringify(one)
        );
        assertEquals(wrong.length, 0, `SEED=${seed}\n${shown?.join("\n")}`);
      });
    }
    assert(allDoubtful > 0, "some calls were in doubt");
  },
});
