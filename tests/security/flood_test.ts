/** Strangers fill a bounded store: what protects must stay. */
import { createSessions, memoryStore } from "@holdfast/edge";
import { createSealedSessions } from "@holdfast/edge/sessions";
import { assertEquals } from "../support/assert.ts";
import { KEYS } from "./_sealed.ts";

Deno.test("flood: anonymous sessions do not revive a sealed cookie that was logged out, rotated away or revoked", async () => {
  const store = memoryStore({ maxEntries: 1_000 });
  const sealed = createSealedSessions({ keys: [KEYS[0]], revocation: store });
  const login = async (user: string) => {
    const session = sealed.open(null);
    session.login(user);
    return (await sealed.commit(session))!.split(";")[0]!;
  };
  const [out, rotated, revoked, living] = await Promise.all(["ada", "ada", "bob", "eve"].map(login));
  const logout = sealed.open(out);
  logout.revoke();
  await sealed.commit(logout);
  const rotation = sealed.open(rotated);
  rotation.rotate();
  const next = (await sealed.commit(rotation))!.split(";")[0]!;
  await sealed.revokeUser("bob");
  const strangers = createSessions(store);
  for (let i = 0; i < 5_000; i++) {
    const session = strangers.open(null);
    session.set("x", i);
    await strangers.commit(session);
  }
  const user = (cookie: string | undefined) => sealed.open(cookie).userId();
  assertEquals(await Promise.all([out, rotated, revoked, next, living].map(user)), [
    undefined,
    undefined,
    undefined,
    "ada",
    "eve",
  ]);
});
