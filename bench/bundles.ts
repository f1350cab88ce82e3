/** The sizes of bundles, minified and gzipped: `deno run -A bench/bundles.ts`. */
import { bundle } from "../tests/support/bundle.ts";

const CONTRACTS =
  `export { createIdempotency, createLocks, createSessions, createThrottle } from "@holdfast/edge";`;

/** The bundles by name: the source of a module that takes just that. */
export const bundles: Readonly<Record<string, string>> = {
  "locks alone": `export { createLocks } from "@holdfast/edge";`,
  "idempotency alone": `export { createIdempotency } from "@holdfast/edge";`,
  "throttle alone": `export { createThrottle } from "@holdfast/edge";`,
  "sessions alone": `export { createSessions } from "@holdfast/edge";`,
  "./cache": `export * from "@holdfast/edge/cache";`,
  "withThrottle alone": `export { withThrottle } from "@holdfast/edge/http";`,
  "throttle of ./hono alone": `export { throttle } from "@holdfast/edge/hono";`,
  "a webhook of one sender": `export { stripe, webhook } from "@holdfast/edge/webhooks";`,
  "withCache alone": `export { withCache } from "@holdfast/edge/http";`,
  "memory store alone": `export { memoryStore } from "@holdfast/edge";`,
  "./upstash": `export * from "@holdfast/edge/upstash";`,
  "./upstash with throttles' scripts alone":
    `export { createUpstashStore, throttleScripts } from "@holdfast/edge/upstash";`,
  "./upstash with locks' scripts alone":
    `export { createUpstashStore, lockScripts } from "@holdfast/edge/upstash";`,
  "./upstash with its contracts": `export * from "@holdfast/edge/upstash"; ${CONTRACTS}`,
  "./durable-objects (client)": `export * from "@holdfast/edge/durable-objects";`,
  "./durable-objects with its contracts": `export * from "@holdfast/edge/durable-objects"; ${CONTRACTS}`,
  "./durable-objects/object": `export * from "@holdfast/edge/durable-objects/object";`,
  "./workers-kv": `export * from "@holdfast/edge/workers-kv";`,
  "./deno-kv": `export * from "@holdfast/edge/deno-kv";`,
  "./hono": `export * from "@holdfast/edge/hono";`,
};

/** Bytes of a module after minifying, and after gzip on top. */
export async function sizes(script: string): Promise<{ minified: number; gzipped: number }> {
  const { code } = await bundle({ script, minify: true });
  const packed = new Blob([code]).stream().pipeThrough(new CompressionStream("gzip"));
  return { minified: new Blob([code]).size, gzipped: (await new Response(packed).arrayBuffer()).byteLength };
}

if (import.meta.main) {
  const kilobytes = (bytes: number) => `${(bytes / 1000).toFixed(1)} kB`;
  const lines = ["| bundle | minified | gzipped |", "| --- | --: | --: |"];
  for (const [name, script] of Object.entries(bundles)) {
    const { minified, gzipped } = await sizes(script);
    lines.push(`| ${name} | ${kilobytes(minified)} | ${kilobytes(gzipped)} |`);
  }
  // deno-lint-ignore no-console
  console.log(lines.join("\n"));
}
