/** The smallest scenario: which runtime is this, and does the package load. */
import { createIdempotency, memoryStore } from "@holdfast/edge";

export async function scenario({ word }: { word: string }): Promise<unknown> {
  const keys = createIdempotency(memoryStore());
  const answer = await keys.run("key", () => word);
  const { Deno, Bun } = globalThis as { Deno?: unknown; Bun?: unknown };
  const agent = globalThis.navigator?.userAgent ?? "none";
  const runtime = Deno ? "deno" : Bun ? "bun" : agent === "Cloudflare-Workers" ? "workerd" : "node";
  return { runtime, answer };
}
