/** Short links: a name belongs to the first one who asks for it. */
import { Hono } from "hono";
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { throttle } from "@holdfast/edge/hono";

const onDeploy = Deno.env.has("DENO_DEPLOYMENT_ID");
const store = denoKvStore(await Deno.openKv(onDeploy ? undefined : "./links.sqlite3"));
const links = store.namespace("links");
const visits = store.namespace("visits");

const app = new Hono();

app.put("/:name", throttle({ store, name: "links", limit: 10, window: "1h" }), async (c) => {
  const url = URL.parse(await c.req.text());
  if (url?.protocol !== "https:") return c.json({ error: "an https: address is needed" }, 400);
  const { set } = await links.setIfAbsent(c.req.param("name"), url.href);
  return c.json({ taken: !set }, set ? 201 : 409);
});

app.get("/:name", async (c) => {
  const url = await links.get<string>(c.req.param("name"));
  if (url === undefined) return c.notFound();
  await visits.increment(c.req.param("name"));
  return c.redirect(url);
});

app.get("/:name/visits", async (c) => c.json({ visits: await visits.get<number>(c.req.param("name")) ?? 0 }));

export default { fetch: app.fetch };
