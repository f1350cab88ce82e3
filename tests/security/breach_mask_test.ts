/** An attacker measures compressed pages (BREACH): the CSRF token in them must be another text each time. */
import { createSessions, memoryStore } from "@holdfast/edge";
import { createSealedSessions } from "@holdfast/edge/sessions";
import { assert, assertEquals } from "../support/assert.ts";
import { KEYS } from "./_sealed.ts";

for (
  const [kind, sessions] of Object.entries({
    stored: createSessions(memoryStore()),
    sealed: createSealedSessions({ keys: [KEYS[0]] }),
  })
) {
  Deno.test(`breach mask: ${kind}: every answer has another token text, each is accepted, and no other is`, async () => {
    const first = sessions.open(null);
    const tokens = [await first.csrfToken(), await first.csrfToken()];
    const cookie = (await sessions.commit(first))!.split(";")[0]!;
    for (let i = 0; i < 20; i++) tokens.push(await sessions.open(cookie).csrfToken());
    assertEquals(new Set(tokens).size, tokens.length);
    // Nothing of one text is in another: no eight characters in common.
    const pieces = new Map<string, number>();
    tokens.forEach((token, i) => {
      assertEquals(token.length, 86);
      for (let at = 0; at + 8 <= token.length; at++) {
        const piece = token.slice(at, at + 8);
        assert(pieces.get(piece) === undefined || pieces.get(piece) === i, "they share a piece");
        pieces.set(piece, i);
      }
    });
    const verify = (token: unknown) => sessions.open(cookie).verifyCsrfToken(token as string);
    for (const token of tokens) assertEquals(await verify(token), true);
    const token = tokens[0]!;
    for (let i = 0; i < 85; i++) { // the last character holds four bits that mean nothing
      const other = token[i] === "A" ? "B" : "A";
      assertEquals(await verify(token.slice(0, i) + other + token.slice(i + 1)), false, `character ${i}`);
    }
    for (
      const wrong of [
        "",
        token.slice(1),
        `${token}A`,
        token.slice(43) + token.slice(0, 43) + "A",
        "A".repeat(86),
        null,
        7,
        {},
        [token],
      ]
    ) {
      assertEquals(await verify(wrong), false);
    }
    const other = sessions.open(null);
    assertEquals(await verify(await other.csrfToken()), false, "another session's");
  });
}
