/** A test of a user, inside workerd: the binding is the real one, and each file has storage of its own. */
import { SELF } from "cloudflare:test";
import { expect, test } from "vitest";

test("the Worker answers from Durable Objects and Workers KV", async () => {
  const response = await SELF.fetch("https://example.com/");
  expect(await response.json()).toEqual([true, "released", 3]);
});
