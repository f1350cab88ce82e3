/**
 * An app whose clients leave, and the clients: a service binding with an AbortSignal cancels a request in
 * workerd.
 */
import { Hono } from "hono";
import { type AtomicStore, createLocks } from "@holdfast/edge";
import { durableObjectStore, type HoldfastNamespace } from "@holdfast/edge/durable-objects";
import { HoldfastObject } from "@holdfast/edge/durable-objects/object";
import { lock, type LockVariables } from "@holdfast/edge/hono";
import { withLock } from "@holdfast/edge/http";
import { eventually } from "../support/eventually.ts";
import { type Probes, probing } from "../support/probes.ts";

export { HoldfastObject };

interface Env {
  readonly HOLDFAST: HoldfastNamespace;
  readonly SELF: { fetch(url: string, init: RequestInit): Promise<Response> };
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** A store whose replies come late. */
function slow(store: AtomicStore, ms: number): AtomicStore {
  return new Proxy(store, {
    get(target, name) {
      if (name === "namespace") return (space: string) => slow(target.namespace(space), ms);
      if (name === "transact") {
        return async (...args: Parameters<AtomicStore["transact"]>) => {
          const output = await target.transact(...args);
          await sleep(ms);
          return output;
        };
      }
      const value = Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** The number of handlers that began, and of those that came to their end. */
let [begun, finished] = [0, 0];
const app = new Hono<{ Variables: LockVariables; Bindings: Env }>();
// A store per request, as bindings are only there.
const store = (c: { env: Env }) => durableObjectStore(c.env.HOLDFAST);
const key = (c: { req: { param(name: string): string } }) => c.req.param("id");
/** Far longer than any test: what is free sooner was released. */
const TTL = "10m";
const options = { ttl: TTL, key, timeout: "1m" } as const;
app.post("/work/:id", lock({ ...options, store }));
app.post("/wait/:id", lock({ ...options, store, wait: "2m" }));
app.post("/fair/:id", lock({ ...options, store, wait: "2m", fair: true }));
app.post("/slow/:id", lock({ ...options, store: (c) => slow(store(c), 400) }));
// Without waitUntil: a cancelled request just stops, and no `finally` of it runs.
app.post("/bare/:id", async (c) => {
  const locks = createLocks(store(c));
  const held = await locks.acquire(c.req.param("id"), { ttl: "2s", wait: "2m" });
  if (!held) return c.text("taken", 409);
  await sleep(Number(c.req.query("ms")));
  await held.release();
  return c.text("done");
});
const untilBody = lock({ ...options, store, until: "body", renew: true });
app.get("/text/:id", untilBody, (c) => text(c.req.raw));
app.get("/flow/:id", untilBody, (c) => flow(c.req.raw));
app.post("/:kind/:id", (c) => work(c.req.raw));

async function text(request: Request): Promise<Response> {
  await sleep(msOf(request));
  return new Response("x");
}

function flow(request: Request): Response {
  const end = Date.now() + msOf(request);
  return new Response(
    new ReadableStream<Uint8Array>({
      async pull(controller) {
        await sleep(20);
        controller.enqueue(new Uint8Array(100).fill(65));
        if (Date.now() > end) controller.close();
      },
    }),
  );
}

async function work(request: Request): Promise<Response> {
  begun++;
  await sleep(msOf(request));
  finished++;
  return new Response("done");
}

function msOf(request: Request): number {
  return Number(new URL(request.url).searchParams.get("ms"));
}

/** The same without a framework, by kind; `http-work` and so on. */
interface Context {
  readonly env: Env;
  readonly ctx: { waitUntil(work: Promise<unknown>): void };
}
const byPath = {
  ttl: TTL,
  timeout: "1m",
  key: (request: Request) => new URL(request.url).pathname.split("/")[2]!,
  store,
} as const;
const plain: Record<string, (request: Request, context: Context) => Promise<Response>> = {
  "http-work": withLock<Context>(work, byPath),
  "http-wait": withLock<Context>(work, { ...byPath, wait: "2m" }),
  "http-fair": withLock<Context>(work, { ...byPath, wait: "2m", fair: true }),
  "http-slow": withLock<Context>(work, { ...byPath, store: (context: Context) => slow(store(context), 400) }),
  "http-text": withLock<Context>(text, { ...byPath, until: "body", renew: true }),
  "http-flow": withLock<Context>(flow, { ...byPath, until: "body", renew: true }),
};

async function inspect(env: Env, id: string) {
  return await createLocks(durableObjectStore(env.HOLDFAST)).inspect(id);
}

/** The time until the lock is free, in milliseconds. */
async function freeAfter(env: Env, id: string): Promise<number> {
  const began = Date.now();
  while ((await inspect(env, id)).held && Date.now() - began < 120_000) await sleep(20);
  return Date.now() - began;
}

/** Sends a request and leaves when `leave` ends, or waits for the status. */
async function post(env: Env, path: string, leave?: () => Promise<void>): Promise<number | "left"> {
  const controller = new AbortController();
  const request = env.SELF.fetch(`http://app.test${path}`, { method: "POST", signal: controller.signal });
  if (leave === undefined) return (await request).status;
  request.catch(() => {});
  await leave();
  controller.abort();
  return "left";
}

const probes: Probes<Env> = {
  /** The client leaves in the middle of the handler, or of the acquisition. */
  async leave(env, query) {
    const [kind, id] = [query.get("kind")!, crypto.randomUUID()];
    [begun, finished] = [0, 0];
    await post(env, `/${kind}/${id}?ms=500`, async () => {
      // A slow store answers long after it granted the lock.
      if (kind.endsWith("slow")) {
        return await eventually(async () => (await inspect(env, id)).held, "it is locked");
      }
      await eventually(() => begun === 1, "the handler begins");
    });
    const free = await freeAfter(env, id);
    return { free, finished, after: await post(env, `/work/${id}?ms=1`) };
  },

  /** The time for which a lock is held from now on. */
  async free(env, query) {
    return { free: await freeAfter(env, query.get("id")!) };
  },

  /** Of many waiting requests some leave, the first of them too. */
  async queue(env, query) {
    const [kind, id] = [query.get("kind")!, crypto.randomUUID()];
    const locks = createLocks(durableObjectStore(env.HOLDFAST));
    const holder = (await locks.acquire(id, { ttl: TTL }))!;
    let left = 0;
    const requests: Promise<number | "left">[] = [];
    for (let i = 0; i < 20; i++) {
      const leave = () => sleep(400).then(() => void left++);
      requests.push(post(env, `/${kind}/${id}?ms=5`, i % 2 === 0 ? leave : undefined));
      await sleep(5);
    }
    await eventually(() => left === 10, "ten have left");
    await sleep(500);
    const began = Date.now();
    await holder.release();
    const answers = await Promise.all(requests);
    return { answers, took: Date.now() - began, free: await freeAfter(env, id) };
  },
};

const driver = probing(probes);

export default {
  async fetch(request: Request, env: Env, context: never): Promise<Response> {
    const { hostname, pathname } = new URL(request.url);
    const handler = plain[pathname.split("/")[1]!];
    if (hostname === "app.test" && handler) return await handler(request, { env, ctx: context });
    return hostname === "app.test"
      ? await app.fetch(request, env, context)
      : await driver.fetch(request, env);
  },
};
