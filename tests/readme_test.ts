/** The README's first example, as pasted: what it promises when the first answer is lost. Every block also runs under `--doc`. */
import type { Hono } from "hono";
import { assert, assertEquals } from "./support/assert.ts";

const readme = await Deno.readTextFile(new URL("../README.md", import.meta.url));

/** The blocks of a language, in order. */
function blocks(language: string): string[] {
  return Array.from(readme.matchAll(/^```(\w+)[^\n]*\n([\s\S]*?)^```$/gm))
    .filter(([, name]) => name === language)
    .map(([, , code]) => code!);
}

/** Runs the first example from a file of its own; its handler counts its runs and does nothing else differently. */
async function firstExample(): Promise<{ app: Hono; runs: () => number }> {
  const code = blocks("ts")[0]!;
  const handler = "(c) => c.json({ charged: true }, 201)";
  assert(code.includes(handler), "the handler as the README has it");
  const counted = code.replace(
    handler,
    `(c) => {
    runs.count++;
    return c.json({ charged: true }, 201);
  }`,
  );
  const file = new URL(`../.cache/readme_example_${crypto.randomUUID()}.ts`, import.meta.url);
  await Deno.mkdir(new URL(".", file), { recursive: true });
  await Deno.writeTextFile(file, `export const runs = { count: 0 };\n${counted}`);
  try {
    const { default: app, runs } = await import(file.href);
    return { app, runs: () => runs.count };
  } finally {
    await Deno.remove(file);
  }
}

const pay = (authorization: string, key = '"order-17"') => ({
  method: "POST",
  headers: { authorization, "idempotency-key": key },
});
const ADA = "Bearer a-long-random-token";

Deno.test("the first example charges once when its first answer is lost and the request is sent again without a cookie", async () => {
  const { app, runs } = await firstExample();
  await (await app.request("/api/payments", pay(ADA))).body?.cancel(); // lost: nobody reads it, no cookie is kept
  const second = await app.request("/api/payments", pay(ADA));
  assertEquals([second.status, await second.json()], [201, { charged: true }]);
  assertEquals(second.headers.get("idempotency-replayed"), "true");
  assertEquals(runs(), 1);
});

Deno.test("the first example refuses a request without a customer, and serves another key", async () => {
  const { app, runs } = await firstExample();
  const stranger = await app.request("/api/payments", pay("Bearer guessed"));
  assertEquals([stranger.status, runs()], [401, 0]);
  await stranger.body?.cancel();
  for (const key of ['"order-18"', '"order-19"']) {
    const answer = await app.request("/api/payments", pay(ADA, key));
    assertEquals(answer.status, 201);
    await answer.body?.cancel();
  }
  assertEquals(runs(), 2);
});

Deno.test("every task that the README names exists", async () => {
  const { tasks } = JSON.parse(await Deno.readTextFile(new URL("../deno.json", import.meta.url)));
  const named = new Set(Array.from(readme.matchAll(/\bdeno task ([\w:]+)/g), ([, name]) => name!));
  for (const [, name] of readme.matchAll(/`(bench:[\w-]+)`/g)) named.add(name!);
  assert(named.size >= 5, [...named].join());
  for (const name of named) assert(name in tasks, `deno.json has no task '${name}'`);
});
