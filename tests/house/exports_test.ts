/** The surface: what every subpath exports, pinned, so that a change of it is a decision. */
import { assert, assertEquals } from "../support/assert.ts";
import { pinnedSurface, readSurface, surfaceText } from "./exports.ts";

const surface = await readSurface();
const symbols = [...surface].flatMap(([subpath, found]) =>
  found.map((symbol) => ({ ...symbol, at: `${subpath} ${symbol.name}` }))
);

Deno.test("the exports of every subpath are those of exports.txt, which `deno task exports --pin` writes", async () => {
  assertEquals(surfaceText(surface), await pinnedSurface());
});

Deno.test("the entry point exports at most 75 names", () => {
  const count = surface.get(".")!.length;
  assert(count <= 75, `${count} names`);
});

Deno.test("every exported symbol has a doc comment and a category, which `deno task exports --categories` writes", () => {
  assertEquals(symbols.filter(({ documented }) => !documented).map(({ at }) => at), []);
  assertEquals(symbols.filter(({ category }) => category === undefined).map(({ at }) => at), []);
});

Deno.test("every exported function has an example", () => {
  const without = symbols.filter(({ isFunction, examples }) => isFunction && examples === 0);
  assertEquals(without.map(({ at }) => at), []);
});

Deno.test("no subpath exports a function of a private file", () => {
  // A private file may hold types that a public signature mentions.
  const functions = symbols.filter(({ file, isFunction }) => isFunction && /\/_[^/]+$/.test(file));
  assertEquals(functions.map(({ at }) => at), []);
});
