/** Deno KV in memory: a get of our store beside a get of Deno KV itself. */
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { interleaved, type Ratio, ratioOf, type Samples } from "./_rounds.ts";

/**
 * The time of Deno KV's own get over the time of ours; the promise is that ours takes at most 1.15 times as
 * long.
 */
export async function measureKv(): Promise<{ samples: Samples; ratio: Ratio; target: number }> {
  using kv = await Deno.openKv(":memory:");
  const store = denoKvStore(kv);
  const keys = Array.from({ length: 500 }, (_, i) => `user:${i}`);
  for (const key of keys) {
    await store.set(key, { id: 17, name: "Ada" });
    await kv.set(["raw", key], { id: 17, name: "Ada" });
  }
  const loop = (call: (key: string) => Promise<unknown>) => async (ops: number) => {
    for (let i = 0; i < ops; i++) await call(keys[i % keys.length]!);
  };
  const samples = await interleaved([
    { name: "get: Deno KV", run: loop((key) => kv.get(["raw", key])) },
    { name: "get: holdfast", run: loop((key) => store.get(key)) },
    // Many short rounds, as other work of the machine comes and goes by the second.
  ], { rounds: 81, ops: Math.min(500, Number(Deno.env.get("OPS") ?? 500)) });
  return { samples, ratio: ratioOf(samples["get: holdfast"]!, samples["get: Deno KV"]!), target: 1 / 1.15 };
}
