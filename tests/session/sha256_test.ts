import { randomToken } from "../../src/secret.ts";
import { sha256, sha256OfAny as either, sha256OfBoth } from "../../src/sha256.ts";
import { bytesToBase64 } from "../../src/codec.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { Random } from "../support/random.ts";

/** Web Crypto's own. */
async function reference(data: string | Uint8Array<ArrayBuffer>): Promise<string> {
  const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
  const hash = bytesToBase64(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
  return hash.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

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

Deno.test("the hash of bodies is Web Crypto's SHA-256, short or long, text or bytes", async () => {
  for (const length of [0, 1, 3, 55, 56, 63, 64, 119, 120, 121, 2047, 2048, 2049, 100_000]) {
    const bytes = Uint8Array.from({ length }, (_, i) => i * 31 + length);
    assertEquals(await either(bytes), await reference(bytes), `${length} bytes`);
    const text = "é".repeat(length);
    assertEquals(await either(text), await reference(text), `${length} characters`);
    for (const head of ["", "POST\n/charges\n", "é"]) {
      const whole = new Uint8Array([...new TextEncoder().encode(head), ...bytes]);
      assertEquals(await sha256OfBoth(head, bytes), await reference(whole), `${head} and ${length} bytes`);
    }
  }
});

Deno.test("random tokens are as long as their bytes need, differ, and use every character alike", () => {
  const counts = new Map<string, number>();
  const seen = new Set<string>();
  for (let i = 0; i < 20_000; i++) {
    const token = randomToken(12);
    assert(/^[\w-]{16}$/.test(token), token);
    seen.add(token);
    for (const character of token) counts.set(character, (counts.get(character) ?? 0) + 1);
  }
  assertEquals([seen.size, counts.size], [20_000, 64]);
  // 5,000 of each are expected, with a deviation of 70: seven deviations never happen.
  for (const [character, count] of counts) assert(Math.abs(count - 5000) < 500, `${character}: ${count}`);
  for (const [bytes, length] of [[4, 6], [9, 12], [16, 22], [18, 24], [32, 43]] as const) {
    assertEquals(randomToken(bytes).length, length);
  }
});
