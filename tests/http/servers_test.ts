/**
 * One scenario, against a server of every runtime and in every shape of handler: the answers, the headers and the
 * requests to the store are the same.
 */
import { assert, assertEquals } from "../support/assert.ts";
import { startWorkerd, workerdTest } from "../support/workerd.ts";
import { withServer } from "./_server.ts";

/** Fields that are ours, or the handlers': the others are the server's. */
const OURS =
  /^(content-type|cache-control|cache-status|vary|allow|age|retry-after|ratelimit.*|idempotency-.*|set-cookie|x-own)$/;

/** The client's answers, and the store's calls. */
interface Seen {
  readonly step: string;
  readonly status: number;
  readonly headers: readonly string[];
  readonly body: string;
  readonly store: readonly string[];
}

/** A request of the scenario. */
type Step = readonly [method: string, path: string, headers?: Record<string, string>, body?: string];

async function signed(body: string): Promise<Record<string, string>> {
  const { createHmac } = await import("node:crypto");
  return { "x-signature": createHmac("sha256", "a secret").update(body).digest("hex") };
}

async function steps(): Promise<Step[]> {
  const key = (key: string) => ({ "idempotency-key": key, "content-type": "application/json" });
  const event = '{"id":"evt_1","kind":"paid"}';
  return [
    ["POST", "/pay", {}, '{"amount":1}'],
    ["POST", "/pay", key('"a";b c"'), '{"amount":1}'],
    ["POST", "/pay", key('"order-1"'), '{"amount":1}'],
    ["POST", "/pay", key('"order-1"'), '{"amount":1}'],
    ["POST", "/pay", key("order-1"), '{"amount":1}'],
    ["POST", "/pay", key('"order-1"'), '{"amount":2}'],
    ["POST", "/stream", key('"stream-1"'), ""],
    ["POST", "/stream", key('"stream-1"'), ""],
    ["GET", "/limited"],
    ["GET", "/limited"],
    ["GET", "/limited"],
    ["POST", "/failures?status=200"],
    ["POST", "/failures?status=401"],
    ["POST", "/failures?status=204"],
    ["POST", "/failures?status=401"],
    ["POST", "/failures?status=200"],
    ["POST", "/locked?id=a"],
    ["POST", "/locked?id=a"],
    ["POST", "/hold?id=a"],
    ["POST", "/locked?id=a"],
    ["POST", "/locked"],
    ["GET", "/visit"],
    ["GET", "/visit", { cookie: "yes" }],
    ["GET", "/visit", { cookie: "__Host-session=forged" }],
    ["GET", "/proxied"],
    ["GET", "/proxied-limited"],
    ["GET", "/proxied-cached"],
    ["GET", "/gone"],
    ["GET", "/gone"],
    ["GET", "/plain"],
    ["GET", "/plain-cached"],
    ["GET", "/plain-cached"],
    ["GET", "/plain-locked"],
    ["GET", "/bytes"],
    ["GET", "/page"],
    ["GET", "/page"],
    ["POST", "/hook", await signed(event), event],
    ["POST", "/hook", await signed(event), event],
    ["POST", "/hook", await signed(event), event + " "],
    ["GET", "/hook"],
  ];
}

async function drive(url: string): Promise<Seen[]> {
  const client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
  const ask = async (path: string, init: RequestInit) => await fetch(url + path, { ...init, client });
  const seen: Seen[] = [];
  let cookie = "";
  for (const [method, path, headers = {}, body] of await steps()) {
    const own = { ...headers, ...(headers.cookie === "yes" && { cookie }) };
    const response = await ask(path, {
      method,
      headers: own,
      ...(method === "POST" && { body: body ?? "" }),
    });
    const text = await response.text();
    const set = response.headers.getSetCookie()[0];
    cookie = set?.split(";")[0] ?? cookie;
    // Some servers add a type to a body that is not there.
    const fields = [...response.headers]
      .filter(([name]) => OURS.test(name) && !(name === "content-type" && text === ""))
      // Runtimes write the type of a text in two ways.
      .map(([name, value]) => `${name}: ${value.replace(/; charset=utf-8/i, ";charset=utf-8")}`)
      .map((field) =>
        field.replace("charset=UTF-8", "charset=utf-8").replace(/session=[\w.-]+/, "session=…")
      );
    const told = await (await ask("/log", {})).text();
    if (told === "") throw new Error(`no log after ${method} ${path}: ${response.status} ${text}`);
    const { log } = JSON.parse(told);
    seen.push({
      step: `${method} ${path}`,
      status: response.status,
      headers: fields.sort(),
      body: text,
      store: log,
    });
  }
  client.close();
  return seen;
}

const SHOP = new URL("./_serve.ts", import.meta.url);

const SERVERS: readonly (readonly [runtime: "deno" | "node" | "bun", shape: string])[] = [
  ["deno", "plain"],
  ["node", "plain"],
  ["bun", "plain"],
  ["deno", "next"],
  ["node", "next"],
  ["deno", "sveltekit"],
  ["node", "sveltekit"],
  ["deno", "hono"],
  ["node", "hono"],
  ["bun", "hono"],
];

workerdTest(
  "the helpers answer the same in every runtime, shape and framework, and ask the store the same",
  async (t) => {
    const seen = new Map<string, Seen[]>();
    for (const [runtime, shape] of SERVERS) {
      seen.set(`${runtime}, ${shape}`, await withServer(runtime, SHOP, shape, drive));
    }
    for (const shape of ["plain", "hono"]) {
      await using worker = await startWorkerd({
        script: `
        import { ${shape}Shop } from "./tests/http/_shop.ts";
        const handler = ${shape}Shop();
        export default {
          fetch: (request, env, ctx) => handler(request, ${shape === "plain" ? "{ env, ctx }" : "env"}),
        };`,
      });
      seen.set(`workerd, ${shape}`, await drive(worker.url));
    }
    const first = [...seen.values()][0]!;
    for (const [name, found] of seen) {
      await t.step(name, () => assertEquals(found, first));
    }
    await t.step("and these are the right ones", () => {
      const statuses = first.map(({ status }) => status).join();
      assertEquals(
        statuses,
        "400,400,201,201,201,422,200,200,200,200,429,200,401,204,401,429,200,200,200,409,400,200,200,200,200,200,200,410,410,200,200,200,200,200,200,200,200,200,403,405",
      );
      const of = (step: string) => first.filter((seen) => seen.step === step);
      assertEquals(
        of("POST /pay").map(({ body }) => body).slice(2, 5),
        Array(3).fill(of("POST /pay")[2]!.body),
      );
      assertEquals(of("POST /pay").map(({ store }) => store), [
        [],
        [],
        ["idempotency.begin", "throttle.check", "idempotency.complete"],
        ["idempotency.begin"],
        ["idempotency.begin"],
        ["idempotency.begin"],
      ]);
      assertEquals(of("POST /stream").map(({ body }) => body), ["one two three 2", "one two three 2"]);
      assert(of("POST /stream")[1]!.headers.includes("idempotency-replayed: true"));
      assertEquals(of("GET /visit").map(({ body }) => body), ["visit 1", "visit 2", "visit 1"]);
      for (const path of ["/proxied", "/proxied-limited", "/proxied-cached"]) {
        assertEquals(of(`GET ${path}`).map(({ body }) => body), ["from elsewhere"]);
      }
      for (const { headers } of of("GET /gone")) {
        assertEquals(headers.filter((field) => field.startsWith("set-cookie")).length, 1);
      }
      for (const path of ["/plain", "/plain-cached", "/plain-locked"]) {
        for (const { headers } of of(`GET ${path}`)) {
          assert(headers.includes("content-type: text/plain;charset=utf-8"), path);
        }
      }
      assert(of("GET /bytes")[0]!.headers.includes("x-own: kept"));
      assertEquals(of("GET /page").map(({ body }) => body), ["rendered 1", "rendered 1"]);
      assertEquals(of("POST /hook").map(({ store }) => store.length), [2, 1, 0]);
    });
  },
);

Deno.test({
  name: "@hono/node-server: an answer that the application keeps carries no visitor's cookie on",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const cookies = await withServer("node", SHOP, "plain", async (url) => {
      const seen: string[][] = [];
      for (let i = 0; i < 3; i++) {
        const response = await fetch(`${url}/kept`);
        assertEquals([response.status, await response.text()], [200, "kept"]);
        seen.push(response.headers.getSetCookie());
      }
      return seen;
    });
    assertEquals(cookies.map((own) => own.length), [1, 1, 1]);
    assertEquals(new Set(cookies.flat()).size, 3);
  },
});
