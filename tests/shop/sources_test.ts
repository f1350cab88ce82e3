/** The lines of source on the shop's page are those of `shop.ts`. */
import { assert, assertEquals } from "../support/assert.ts";
import { sourcesModule, sourcesOf } from "../../examples/shop/make_sources.ts";

const shop = new URL("../../examples/shop/", import.meta.url);

Deno.test("sources.ts is generated from shop.ts by make_sources.ts, about ten lines a card", async () => {
  const source = await Deno.readTextFile(new URL("shop.ts", shop));
  assertEquals(await Deno.readTextFile(new URL("sources.ts", shop)), sourcesModule(source));
  const sources = Object.values(sourcesOf(source));
  assertEquals(sources.length, 7);
  for (const { first, last, code } of sources) {
    assert(last - first < 12, `lines ${first} to ${last}`);
    assertEquals(
      source.split("\n").slice(first - 1, last).map((line) => line.trim()),
      code.split("\n").map((line) => line.trim()),
    );
  }
});
