import { sha256 } from "../../src/session/_sha256.ts";
import { sha256 as reference } from "../../src/secret.ts";
import { assertEquals } from "../support/assert.ts";
import { Random } from "../support/random.ts";

Deno.test("the hash of sessions is Web Crypto's SHA-256, for every length around a block and any text", async () => {
  for (let length = 0; length < 300; length++) {
    const text = "a".repeat(length);
    assertEquals(sha256(text), await reference(text), `length ${length}`);
  }
  const seed = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 2 ** 31));
  const random = new Random(seed);
  for (let i = 0; i < 500; i++) {
    const text = String.fromCodePoint(
      ...Array.from({ length: random.below(200) }, () => random.below(random.pick([128, 0xd800]))),
    );
    assertEquals(sha256(text), await reference(text), `SEED=${seed}`);
  }
});
