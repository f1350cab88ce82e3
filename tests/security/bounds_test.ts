/**
 * The tables of bounds and of what is stored in `docs/security.md`: those of sessions and of keys and values
 * are measured here, of all others the number stands in the source that the row names.
 */
import { Hono } from "hono";
import { MongoClient } from "mongodb";
import { DatabaseSync } from "node:sqlite";
import { type AtomicStore, createSessions, type Duration, HoldfastError, memoryStore } from "@holdfast/edge";
import { atomicSessionStore, createSealedSessions, type SessionStore } from "@holdfast/edge/sessions";
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { requireCsrfToken, session, type SessionVariables } from "@holdfast/edge/hono";
import { mongodbStore } from "@holdfast/edge/mongodb";
import { postgresStore } from "@holdfast/edge/postgres";
import { nodeSqliteStore } from "@holdfast/edge/sqlite";
import { upstashStore } from "@holdfast/edge/upstash";
import { toMilliseconds } from "../../src/duration.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { KEYS, sent } from "./_sealed.ts";

const root = new URL("../../", import.meta.url);

/** The rows of the table under a heading, as cells. */
async function table(heading: string): Promise<string[][]> {
  const text = await Deno.readTextFile(new URL("docs/security.md", root));
  const section = text.split(/^#+ /m).find((part) => part.startsWith(`${heading}\n`));
  assert(section !== undefined, `no section "${heading}"`);
  const lines = section.split("\n").filter((line) => /^\| [^-]/.test(line)).slice(1);
  return lines.map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim()));
}

/** The bounded quantities of sessions, with their bounds. */
async function rows(): Promise<[string, string][]> {
  return (await table("Sessions")).map(([what, bound]) => [what!, bound!]);
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
      await store.delete("key", { why: "revoked", absent: "tombstone" });
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

Deno.test("bounds: an engine takes keys and values as long as its row says, and says so itself", async () => {
  using kv = await Deno.openKv(":memory:");
  const database = new DatabaseSync(":memory:");
  const mongo = new MongoClient("mongodb://127.0.0.1:1/"); // connects at its first call
  const stores: Record<string, AtomicStore> = {
    memory: memoryStore(),
    Upstash: upstashStore({ url: "https://example.com", token: "token" }),
    "Deno KV": denoKvStore(kv),
    SQLite: nodeSqliteStore(database),
    Postgres: postgresStore(() => Promise.resolve([])),
    MongoDB: mongodbStore(mongo.db("test").collection<never>("test")),
  };
  const said = await table("Keys and values");
  assertEquals(said.map(([engine]) => engine), Object.keys(stores));
  for (const [engine, key, value] of said) {
    const { maxKeyBytes, maxValueLength } = stores[engine!]!.limits;
    assertEquals([engine, figure(key!), figure(value!)], [engine, maxKeyBytes, maxValueLength]);
  }
  database.close();
  await mongo.close();
});

/** Units in bytes or milliseconds; other words count things. */
const UNITS: Readonly<Record<string, number>> = {
  KiB: 1024,
  MiB: 1_048_576,
  MB: 1_000_000,
  seconds: 1000,
  minute: 60_000,
  minutes: 60_000,
  hour: HOUR,
  hours: HOUR,
  day: 24 * HOUR,
  days: 24 * HOUR,
};

/** The number at the beginning of a cell, in the unit of the source. */
function figure(cell: string): number {
  const [, digits, unit = ""] = /^([\d,]+)(?: (\w+))?/.exec(cell) ?? [];
  assert(digits !== undefined, `no number at the beginning: ${cell}`);
  return Number(digits.replaceAll(",", "")) * (UNITS[unit] ?? 1);
}

/** The value of a constant or a default in a source: a number, arithmetic on numbers, or a duration. */
function valueOf(source: string, name: string): number {
  const start = `(?<![\\w.])${name.replaceAll(".", "\\.")}\\s*(?:=|\\?\\?)\\s*`;
  const [, text, duration] = new RegExp(`${start}(?:([\\d_][\\d_ *+-]*)|"([^"]+)")`).exec(source) ?? [];
  if (duration !== undefined) return toMilliseconds(duration as Duration, name);
  assert(text !== undefined, `no value of ${name}`);
  return Number(new Function(`return ${text}`)());
}

for (const heading of ["What is stored, and for how long", "Engines", "Contracts and helpers"]) {
  Deno.test(`bounds: ${heading}: every number stands in the source that its row names`, async () => {
    const all = await table(heading);
    assert(all.length > 10, "the table is there");
    for (const cells of all) {
      const [what, bound] = cells;
      const [, file, code] = /^`([^`]+)` `([^`]+)`$/.exec(cells.at(-1)!) ?? [];
      assert(file !== undefined && code !== undefined, `${what}: the row names its source`);
      const source = await Deno.readTextFile(new URL(file, root));
      if (/^[\w.]+$/.test(code)) assertEquals([what, figure(bound!)], [what, valueOf(source, code)]);
      else {
        assert(source.includes(code), `${what}: ${file} has ${code}`);
        const numbers = code.match(/(?<=[>*] )\d+$/);
        if (numbers !== null) assertEquals([what, figure(bound!)], [what, Number(numbers[0])]);
      }
    }
  });
}

Deno.test("bounds: a row with another number than its source is found", () => {
  assertEquals(
    valueOf("const MOST_WAITING_PER_KEY = 1;\nconst MOST = 64 * 1024 * 1024;", "MOST"),
    67_108_864,
  );
  assertEquals(valueOf('a.options.remember ?? "2m"; options.remember ?? "1m"', "options.remember"), 60_000);
  assertEquals([figure("64 MiB"), figure("10,000 calls"), figure("1 day")], [67_108_864, 10_000, 24 * HOUR]);
});
