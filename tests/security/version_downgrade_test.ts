/** A deploy under way: instances of two versions serve one session. */
import { Hono } from "hono";
import { createSessions, memoryStore, type Session } from "@holdfast/edge";
import { createSealedSessions } from "@holdfast/edge/sessions";
import { session, type SessionVariables } from "@holdfast/edge/hono";
import { assertEquals, assertRejects } from "../support/assert.ts";
import { far, KEYS } from "./_sealed.ts";

type Data = Record<string, unknown>;

/** Run twice on the same data it would leave nothing of the money. */
const migrate = ({ dollars, ...rest }: Data): Data => ({ ...rest, cents: Number(dollars ?? 0) * 100 });

Deno.test("version downgrade: over HTTP: the earlier instance answers 503, changes no cookie and writes nothing", async () => {
  const store = memoryStore();
  const faults: unknown[] = [];
  const instance = (options: Parameters<typeof session>[0]) => {
    const app = new Hono<{ Variables: SessionVariables }>();
    app.onError((_error, c) => c.text("broken", 500));
    app.use(session(options));
    app.get("/", async (c) => c.json(await c.var.session.data()));
    app.post("/:name", (c) => {
      c.var.session.set(c.req.param("name"), 5);
      return c.text("");
    });
    app.post("/logout/now", (c) => {
      c.var.session.revoke();
      return c.text("");
    });
    return app;
  };
  const old = instance({ store, onFault: (error) => faults.push(error) });
  const later = instance({ store, version: 2, migrate });
  const begun = await old.request("/dollars", { method: "POST" });
  const headers = { cookie: begun.headers.getSetCookie()[0]!.split(";")[0]! };
  await later.request("/x", { method: "POST", headers });
  for (const [path, method] of [["/", "GET"], ["/dollars", "POST"]]) {
    const response = await old.request(path!, { method: method!, headers });
    assertEquals([path, response.status, response.headers.getSetCookie()], [path, 503, []]);
  }
  assertEquals(faults.length, 2);
  assertEquals(await (await later.request("/", { headers })).json(), { cents: 500, x: 5 });
  assertEquals((await old.request("/logout/now", { method: "POST", headers })).status, 200);
  assertEquals(await (await later.request("/", { headers })).json(), {});
});

Deno.test("version downgrade: sealed: an earlier instance refuses what a later one sealed", async () => {
  const [old, later] = [
    createSealedSessions({ keys: [KEYS[0]] }),
    createSealedSessions({ keys: [KEYS[0]], version: 2, migrate }),
  ];
  const first = old.open(null);
  first.set("dollars", 5);
  const begun = (await old.commit(first))!.split(";")[0]!;
  const second = later.open(begun);
  assertEquals({ ...await second.data() }, { cents: 500 });
  second.set("x", 1);
  const raised = (await later.commit(second))!.split(";")[0]!;
  await assertRejects(() => old.open(raised).data());
  assertEquals({ ...await later.open(raised).data() }, { cents: 500, x: 1 });
});

Deno.test("version downgrade: 200 parallel requests of both versions: migrated once, no value lost or restamped", async () => {
  const store = far(memoryStore());
  const [old, later] = [createSessions(store), createSessions(store, { version: 2, migrate })];
  const first = old.open(null);
  first.set("dollars", 5);
  const cookie = (await old.commit(first))!.split(";")[0]!;
  const written: string[] = [];
  await Promise.all(Array.from({ length: 200 }, async (_, i) => {
    const sessions = i % 2 === 0 ? old : later;
    const mine: Session<Data> = sessions.open(cookie);
    try {
      if (i % 3 > 0) await mine.data();
      mine.set(`k${i}`, i);
      await sessions.commit(mine);
      written.push(`k${i}`);
    } catch {
      // the earlier version was refused, or others changed it all the time
    }
  }));
  const data = await later.open(cookie).data();
  assertEquals(data.cents, 500);
  assertEquals(written.filter((name) => !(name in data)), []);
});

Deno.test("version downgrade: a rotation that overlaps a migration loses nothing and restamps nothing", async () => {
  for (let i = 0; i < 30; i++) {
    const store = far(memoryStore());
    const [old, later] = [createSessions(store), createSessions(store, { version: 2, migrate })];
    const first = old.open(null);
    first.set("dollars", 5);
    const cookie = (await old.commit(first))!.split(";")[0]!;
    const rotation = async () => {
      const mine = old.open(cookie);
      await mine.data();
      mine.rotate();
      return (await old.commit(mine))?.split(";")[0];
    };
    const raising = async () => {
      const mine = later.open(cookie);
      await mine.data();
      mine.set("x", 1);
      await later.commit(mine);
    };
    const [rotated] = await Promise.allSettled([rotation(), raising()]);
    const next = rotated.status === "fulfilled" ? rotated.value : undefined;
    assertEquals((await later.open(next ?? cookie).data()).cents, 500, `round ${i}`);
  }
});
