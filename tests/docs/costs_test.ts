/**
 * The costs of calls: counted again on each engine, and written into the pages as the counts and the prices
 * make it.
 */
import { assert, assertEquals } from "../support/assert.ts";
import counts from "./costs/counts.json" with { type: "json" };
import { countAll } from "./costs/count.ts";
import { PRICES } from "./costs/prices.ts";
import { dollars, generated } from "./costs/tables.ts";

const root = new URL("../../", import.meta.url);

Deno.test({
  name: "the counted requests, commands and rows of each call are those of tests/docs/costs/counts.json",
  sanitizeOps: false, // pg and workerd keep sockets
  sanitizeResources: false,
  async fn() {
    assertEquals(await countAll(), counts);
  },
});

Deno.test("the tables and the plot of costs in docs/engines are what the counts and the prices make", async () => {
  for (const [path, text] of Object.entries(await generated())) {
    assertEquals(await Deno.readTextFile(new URL(path, root)), text, path);
  }
});

Deno.test("a price is the sum of the units at the vendor's prices, and unknown where the vendor has none", () => {
  assertEquals(dollars("Upstash", "`get`"), 2 * counts.Upstash["`get`"].commands);
  assertEquals(dollars("Workers KV", "`set`"), 5);
  assertEquals(dollars("Postgres", "`get`"), undefined);
  for (const { page } of Object.values(PRICES)) assert(page.startsWith("https://"));
});
