/** The graph of modules: no circle, no import that runs upwards, no adapter that reaches another one. */
import { assert, assertEquals } from "../support/assert.ts";
import { circles, moduleGraph, readGraph, upwardImports } from "./circles.ts";

function graph(edges: Record<string, string[]>) {
  const module = (specifier: string, targets: string[]) => ({
    specifier: `file:///${specifier}`,
    dependencies: targets.map((target) => ({ code: { specifier: `file:///${target}` } })),
  });
  return moduleGraph([{ modules: Object.entries(edges).map(([from, to]) => module(from, to)) }], "file:///");
}

Deno.test("circles() reports modules that import each other, and those that import themselves", () => {
  const found = circles(graph({
    "src/a.ts": ["src/b.ts"],
    "src/b.ts": ["src/c.ts"],
    "src/c.ts": ["src/a.ts", "src/d.ts"],
    "src/d.ts": [],
    "src/e.ts": ["src/e.ts"],
  }));
  assertEquals(found, [["src/a.ts", "src/b.ts", "src/c.ts"], ["src/e.ts"]]);
});

Deno.test("upwardImports() reports imports of a higher layer, of a sibling contract and of another adapter", () => {
  const found = upwardImports(graph({
    "src/store/a.ts": ["src/lock/b.ts", "src/retry.ts"],
    "src/lock/b.ts": ["src/throttle/c.ts", "src/store/a.ts", "src/lock/d.ts"],
    "src/mail/mod.ts": ["src/testing/g.ts", "adapters/upstash/f.ts"],
    "src/throttle/c.ts": ["src/mail/mod.ts"],
    "adapters/hono/e.ts": ["adapters/upstash/f.ts", "src/lock/b.ts"],
  }));
  assertEquals(found, [
    "adapters/hono/e.ts → adapters/upstash/f.ts",
    "src/lock/b.ts → src/throttle/c.ts",
    "src/mail/mod.ts → adapters/upstash/f.ts",
    "src/store/a.ts → src/lock/b.ts",
    "src/throttle/c.ts → src/mail/mod.ts",
  ]);
});

Deno.test("the package has no circle of imports and none that runs upwards", async () => {
  const modules = await readGraph();
  assert(modules.size > 200, "the graph was read");
  assertEquals(circles(modules), []);
  assertEquals(upwardImports(modules), []);
});
