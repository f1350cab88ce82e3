/** A guest book: rows of its own in D1, and everything that must not go wrong twice beside them. */
import { type Context, Hono } from "hono";
import { idempotency, throttle } from "@holdfast/edge/hono";
import { type D1Binding, d1Store } from "@holdfast/edge/sqlite";

/** The part of D1 that this app uses itself. `npx wrangler types` writes the whole of it. */
interface Database extends D1Binding {
  prepare(sql: string): Statement;
}
interface Statement extends ReturnType<D1Binding["prepare"]> {
  bind(...values: unknown[]): Statement;
  run(): Promise<unknown>;
  all<Row>(): Promise<{ results: Row[] }>;
}

const app = new Hono<{ Bindings: { DB: Database } }>();
const store = (c: { env: { DB: Database } }) => d1Store(c.env.DB);

// Both statements change nothing where the tables are there. An isolate of production asks once.
let migrated = false;
app.use(async (c, next) => {
  if (!migrated) {
    await store(c).migrate();
    await c.env.DB.prepare("create table if not exists entries (text text not null)").run();
    migrated = true;
  }
  await next();
});

const address = (c: Context) => c.req.header("cf-connecting-ip") ?? "local";

app.post(
  "/entries",
  idempotency({ store, scope: address }),
  throttle({ store, name: "entries", limit: 3, window: "1m", key: address }),
  async (c) => {
    await c.env.DB.prepare("insert into entries (text) values (?)").bind(await c.req.text()).run();
    return c.json({ written: true }, 201);
  },
);

app.get("/entries", async (c) => {
  const { results } = await c.env.DB.prepare("select text from entries").all<{ text: string }>();
  return c.json(results.map(({ text }) => text));
});

export default app;
