/** Bun's own client of Redis, in Bun: the laws that it keeps, and those that it breaks. */
import { systemClock } from "@holdfast/edge";
import { type BunRedisClient, redisStore } from "@holdfast/edge/redis";
import { contracts } from "../support/contracts.ts";
import { inVirtualTime } from "../support/virtual_time.ts";

/** The part of Bun that is used here. */
interface Bun {
  readonly RedisClient: new (url: string) => BunRedisClient & { close(): void };
}

/** Contract → the number of laws kept, and a line for each that was broken. */
export async function scenario(
  { port }: { readonly port: number },
): Promise<{ kept: Record<string, number>; broken: string[] }> {
  const { RedisClient } = (globalThis as unknown as { readonly Bun: Bun }).Bun;
  const client = new RedisClient(`redis://127.0.0.1:${port}`);
  const kept: Record<string, number> = {};
  const broken: string[] = [];
  let count = 0;
  for (const [contract, laws] of Object.entries(contracts)) {
    for (const law of laws) {
      const prefix = `bun ${count++}`;
      const subject = contract === "key-value store"
        ? { store: redisStore(client, { prefix }), wait: (ms: number) => systemClock.sleep(ms + 2) }
        : inVirtualTime((clock) => redisStore(client, { prefix, virtualTime: () => clock.now() }));
      try {
        await law.run({ ...subject, listsTwice: true });
        kept[contract] = (kept[contract] ?? 0) + 1;
      } catch (error) {
        broken.push(`${contract}: ${law.name}: ${error}`);
      }
    }
  }
  client.close();
  return { kept, broken };
}
