/**
 * The table of bounds in the documentation of sessions: every row is measured here, and says what was
 * measured.
 */
import { Hono } from "hono";
import { createSessions, HoldfastError, memoryStore } from "@holdfast/edge";
import { atomicSessionStore, createSealedSessions, type SessionStore } from "@holdfast/edge/sessions";
import { requireCsrfToken, session, type SessionVariables } from "@holdfast/edge/hono";
import { assert, assertEquals } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { KEYS, sent } from "./_sealed.ts";

const root = new URL("../../", import.meta.url);
const PLACES = ["docs/sessions.md", "docs/security.md", "src/session/README.md"];

/** The rows of the table: what is bounded, and the bound. */
async function rows(): Promise<[string, string][]> {
  for (const place of PLACES) {
    const text = await Deno.readTextFile(new URL(place, root)).catch(() => "");
    const section = /## Bounds\n([\s\S]*?)(?:\n## |$)/.exec(text)?.[1];
    if (section === undefined || !section.includes("requireCsrfToken")) continue;
    const lines = section.split("\n").filter((line) => line.startsWith("| ")).slice(1);
    return lines.filter((line) => !/^\| -/.test(line)).map((line) => {
      const [, what, bound] = line.split("|").map((cell) => cell.trim());
      return [what!, bound!];
    });
  }
  throw new Error("no table of bounds");
}

/** The longest time that `works` says true for, in milliseconds, found by halving up to a day and a half. */
async function longest(works: (milliseconds: number) => Promise<boolean>): Promise<number> {
  let [yes, no] = [0, 129_600_000];
  while (no - yes > 1) {
    const middle = Math.floor((yes + no) / 2);
    if (await works(middle)) yes = middle;
    else no = middle;
  }
  return no;
}

const HOUR = 3_600_000;

/** Each row and how it is measured: what the bound's cell begins with. */
const MEASURED: Record<string, () => Promise<string>> = {
  async "cookies of our name that are looked up"() {
    let loads = 0;
    const store = atomicSessionStore(memoryStore());
    const sessions = createSessions(
      Object.assign(Object.create(store), {
        index: store.index,
        consistency: "atomic" as const,
        save: store.save.bind(store),
        load: (key: string) => (loads++, store.load(key)),
      }) as typeof store,
    );
    await sessions.open([..."ABCDEFGH"].map((char) => `__Host-session=${char.repeat(43)}`).join("; ")).data();
    return String(loads);
  },
  async "name and value of a sealed cookie"() {
    const sessions = createSealedSessions({ keys: [KEYS[0]] });
    let most = 0;
    for (let length = 2_000; length < 3_500; length += 1) {
      const opened = sessions.open(null);
      opened.set("x", "y".repeat(length));
      const cookie = await sessions.commit(opened).catch((error) => {
        assert(error instanceof HoldfastError && error.code === "cookie-too-large");
      });
      if (cookie === undefined) break;
      most = Math.max(most, sent(cookie).length);
    }
    assert(most > 4_090, "it comes close");
    return most <= 4_096 ? "4,096 bytes" : String(most);
  },
  async "a form that `requireCsrfToken` reads"() {
    const app = new Hono<{ Variables: SessionVariables }>();
    app.use(session({ store: memoryStore() }), requireCsrfToken());
    app.get("/", async (c) => c.text(await c.var.session.csrfToken()));
    app.post("/", (c) => c.text(""));
    const cookie = sent((await app.request("/")).headers.getSetCookie()[0]);
    const headers = { cookie, "content-type": "application/x-www-form-urlencoded" };
    const status = async (bytes: number) =>
      (await app.request("/", { method: "POST", headers, body: "x".repeat(bytes) })).status;
    assertEquals([await status(1 << 20), await status((1 << 20) + 1)], [403, 413]);
    return "1 MiB";
  },
  async "sessions of a user"() {
    const sessions = createSessions(memoryStore());
    for (let i = 0; i < 510; i++) {
      const opened = sessions.open(null);
      opened.login("ada");
      await sessions.commit(opened);
    }
    return String((await sessions.listSessions("ada")).length);
  },
  async "tries of a commit that depends on what was there"() {
    let tries = 0;
    const store = atomicSessionStore(memoryStore());
    const contended: SessionStore = {
      consistency: "atomic",
      load: (key) => store.load(key),
      delete: (key, options) => store.delete(key, options),
      exists: (key) => store.exists(key),
      async save(key, change) {
        if (change.type !== "update") return await store.save(key, change);
        tries++;
        const found = await store.load(key);
        assert(found.state === "live");
        return { state: "conflict", record: found.record };
      },
    };
    const sessions = createSessions(contended as never);
    const first = sessions.open(null);
    first.set("n", 0);
    const mine = sessions.open(sent(await sessions.commit(first)));
    await mine.update("n", (n) => Number(n) + 1);
    const error = await sessions.commit(mine).catch((error) => error);
    assertEquals((error as HoldfastError).code, "contention");
    return String(tries);
  },
  async "rotations that a logout follows"() {
    for (let rotations = 1;; rotations++) {
      const sessions = createSessions(memoryStore());
      const first = sessions.open(null);
      first.login("ada");
      const cookie = sent(await sessions.commit(first));
      let last = cookie;
      for (let i = 0; i < rotations; i++) {
        const opened = sessions.open(last);
        opened.rotate();
        last = sent(await sessions.commit(opened));
      }
      const logout = sessions.open(cookie);
      logout.revoke();
      await sessions.commit(logout);
      if (!await sessions.open(last).isNew()) return String(rotations - 1);
    }
  },
  async "how long a tombstone tells why a session is gone"() {
    const minutes = await longest(async (milliseconds) => {
      const clock = new ManualClock();
      const store = atomicSessionStore(memoryStore({ clock }));
      await store.delete("key", { why: "revoked", absent: "bury" });
      await clock.advance(milliseconds);
      return (await store.load("key")).state === "ended";
    }) / 60_000;
    return `${minutes} minute`;
  },
  async "how long a family of sealed sessions is remembered"() {
    const time = await longest(async (milliseconds) => {
      const clock = new ManualClock();
      const revocation = memoryStore({ clock });
      const sessions = createSealedSessions({ keys: [KEYS[0]], clock, revocation });
      const opened = sessions.open(null);
      opened.login("ada");
      const logout = sessions.open(sent(await sessions.commit(opened)));
      logout.revoke();
      await sessions.commit(logout);
      await clock.advance(milliseconds);
      const families = revocation.namespace("sealed-session").namespace("family");
      return (await families.listPage()).keys.length > 0;
    });
    return time === 13 * HOUR ? "its end and one hour" : String(time);
  },
  async "how long an epoch is remembered"() {
    const stored = await longest(async (milliseconds) => {
      const clock = new ManualClock();
      const store = atomicSessionStore(memoryStore({ clock }));
      await createSessions(store, { clock }).revokeAll();
      await clock.advance(milliseconds);
      return (await store.index.read("everybody")).epoch > 0;
    });
    const sealed = await longest(async (milliseconds) => {
      const clock = new ManualClock();
      const revocation = memoryStore({ clock });
      await createSealedSessions({ keys: [KEYS[0]], clock, revocation }).revokeAll();
      await clock.advance(milliseconds);
      return (await atomicSessionStore(revocation, { name: "sealed-session" }).index.read("everybody"))
        .epoch > 0;
    });
    return stored === 12 * HOUR && sealed === 13 * HOUR
      ? "`absoluteTimeout`; sealed: one hour more"
      : `${stored}, ${sealed}`;
  },
  async "a call of a `SessionStore`"() {
    const silent = {
      ...atomicSessionStore(memoryStore()),
      consistency: "atomic",
      save() {},
      load: () => new Promise(() => {}),
    };
    const sessions = createSessions(silent as never);
    const original = globalThis.setTimeout;
    let waited = 0;
    // The timer fires at once, and tells how long it was to wait.
    globalThis.setTimeout = ((call: () => void, milliseconds: number) => {
      waited = milliseconds;
      return original(call, 0);
    }) as typeof setTimeout;
    try {
      await sessions.open(`__Host-session=${"A".repeat(43)}`).data().catch(() => {});
    } finally {
      globalThis.setTimeout = original;
    }
    return `${waited / 1000} seconds`;
  },
};

Deno.test("the table of bounds is whole: each row is measured, and each measurement has a row", async () => {
  assertEquals((await rows()).map(([what]) => what).sort(), Object.keys(MEASURED).sort());
});

for (const [what, measure] of Object.entries(MEASURED)) {
  Deno.test(`bound: ${what}`, async () => {
    const [, said] = (await rows()).find(([row]) => row === what) ?? ["", "nothing"];
    const measured = await measure();
    assert(said.startsWith(measured), `the documentation says ${said}, measured was ${measured}`);
  });
}
