/**
 * An app whose clients leave, and the clients: `/drive` sends requests to the app through a service binding
 * and cancels them.
 */
import { Hono } from "hono";
import { memoryStore } from "@holdfast/edge";
import { durableObjectStore, type HoldfastNamespace } from "@holdfast/edge/durable-objects";
import { HoldfastObject } from "@holdfast/edge/durable-objects/object";
import { idempotency, type IdempotencyVariables } from "@holdfast/edge/hono";
import { withIdempotency } from "@holdfast/edge/http";
import { webhook } from "@holdfast/edge/webhooks";

export { HoldfastObject };

interface Env {
  readonly HOLDFAST: HoldfastNamespace;
  readonly SELF: { fetch(url: string, init: RequestInit): Promise<Response> };
}

/** The handler's work under a key. */
interface Work {
  runs: number;
  live: number;
  overlapped: boolean;
  /** The progress of the run. */
  step: number;
  /** The whole answer of the last run. */
  made: string;
}

const works = new Map<string, Work>();
/** Keys whose first client has left. */
const left = new Set<string>();
const memory = memoryStore();
const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

function begin(key: string): Work {
  const work = works.get(key) ?? { runs: 0, live: 0, overlapped: false, step: 0, made: "" };
  works.set(key, work);
  work.runs++;
  work.overlapped ||= work.live > 0;
  work.live++;
  work.made = "";
  return work;
}

/** A part of the work; where the client wants to leave, it goes on when the client has left. */
async function takeStep(request: Request, key: string, work: Work): Promise<void> {
  await sleep(2 + Math.random() * 10);
  const leaves = Number(request.headers.get("leave-at") ?? -1) === work.step++;
  for (let i = 0; leaves && i < 10_000 && !left.has(key); i++) await sleep(2);
}

async function pay(request: Request, key: string): Promise<Response> {
  const work = begin(key);
  const { order } = await request.json();
  for (let i = 0; i < 6; i++) await takeStep(request, key, work);
  work.live--;
  work.made = JSON.stringify({ order, receipt: crypto.randomUUID() });
  return new Response(work.made);
}

function stream(request: Request, key: string): Response {
  const work = begin(key);
  const encoder = new TextEncoder();
  const makeChunk = async () => {
    await takeStep(request, key, work);
    const chunk = `<${crypto.randomUUID()}>`;
    work.made += chunk;
    return encoder.encode(chunk);
  };
  // Half of the handlers make chunks when they are asked, half by themselves.
  if (Math.random() < 0.5) {
    let left = 6;
    return new Response(
      new ReadableStream<Uint8Array>({
        async pull(controller) {
          if (left-- > 0) return controller.enqueue(await makeChunk());
          work.live--;
          controller.close();
        },
        cancel: () => void work.live--,
      }),
    );
  }
  return new Response(
    new ReadableStream<Uint8Array>({
      async start(controller) {
        for (let i = 0; i < 6; i++) controller.enqueue(await makeChunk());
        work.live--;
        controller.close();
      },
      cancel: () => void work.live--,
    }),
  );
}

const storeOf = (request: Request, env: Env) =>
  request.headers.get("engine") === "memory" ? memory : durableObjectStore(env.HOLDFAST);

const app = new Hono<{ Bindings: Env; Variables: IdempotencyVariables }>();
app.use(idempotency({ store: (c) => storeOf(c.req.raw, c.env), scope: "public", lease: "15s" }));
app.post("/pay", (c) => pay(c.req.raw, c.var.idempotency.key));
app.post("/stream", (c) => stream(c.req.raw, c.var.idempotency.key));

/** The same without a framework. A store needs the request here, so it travels in the context. */
interface Context {
  readonly env: Env;
  readonly ctx: { waitUntil(work: Promise<unknown>): void };
  readonly asked: Request;
}
const plain = withIdempotency<Context>((request, { idempotency }) => {
  const { key } = idempotency!;
  return new URL(request.url).pathname === "/http/pay" ? pay(request, key) : stream(request, key);
}, { store: ({ asked, env }) => storeOf(asked, env), scope: "public", lease: "15s" });

/** A webhook of the same work: the key is the id of its event. Who signs is no matter here. */
const hook = webhook<never, Context>({
  verify: ({ headers }) => ({
    state: "verified",
    events: [{ id: headers.get("idempotency-key")!, payload: undefined }],
  }),
  store: ({ asked, env }) => storeOf(asked, env),
  name: "hook",
  lease: "15s",
  async handle(_event, { id, request }) {
    const work = begin(id);
    for (let i = 0; i < 6; i++) await takeStep(request, id, work);
    work.live--;
    work.made = `{"received":true}`; // what every delivery of it is answered
  },
});

/** The answers to a client whose first request was cancelled. */
export interface Seen {
  readonly runs: number;
  readonly overlapped: boolean;
  /** Whether the cancelled request had its answer in time. */
  readonly early: boolean;
  /** Whether the retry and one more request got what the handler made. */
  readonly right: boolean;
  readonly error?: string;
}

/**
 * Waits for the moment at which a client leaves: some time before the handler begins, or in one of its steps.
 */
async function moment(key: string, step: number): Promise<void> {
  if (step < 0) return await sleep(Math.random() * 8);
  for (let i = 0; i < 20_000 && !((works.get(key)?.step ?? -1) > step); i++) await sleep(1);
}

async function client(env: Env, path: string, engine: string): Promise<Seen> {
  const key = crypto.randomUUID();
  const step = Math.floor(Math.random() * 7) - 1;
  const post = (signal?: AbortSignal) =>
    env.SELF.fetch(`http://shop.test${path}`, {
      method: "POST",
      headers: { "idempotency-key": key, engine, ...(signal && { "leave-at": String(step) }) },
      body: JSON.stringify({ order: key }),
      ...(signal && { signal }),
    });
  const controller = new AbortController();
  const first = post(controller.signal).then((response) => response.text()).then(() => true, () => false);
  await moment(key, step);
  controller.abort();
  left.add(key);
  const early = await first;
  const retry = async () => {
    for (let waited = 0;; waited += 20) {
      const response = await post();
      const text = await response.text();
      if (response.status === 200) return text;
      if (response.status !== 409 || waited > 30_000) throw new Error(`${response.status}: ${text}`);
      await sleep(20);
    }
  };
  const found = () => works.get(key) ?? { runs: 0, overlapped: false, made: "" };
  try {
    const answers = [await retry(), await retry()];
    const { runs, overlapped, made } = found();
    return { runs, overlapped, early, right: answers.every((answer) => answer === made) };
  } catch (error) {
    const { runs, overlapped } = found();
    return { runs, overlapped, early, right: false, error: String(error) };
  }
}

export default {
  async fetch(request: Request, env: Env, ctx: ConstructorParameters<typeof Hono>[0]): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    if (pathname.startsWith("/http/")) {
      const handler = pathname === "/http/hook" ? hook : plain;
      return await handler(request, { env, ctx: ctx as unknown as Context["ctx"], asked: request });
    }
    if (pathname !== "/drive") return await app.fetch(request, env, ctx as never);
    const count = Number(searchParams.get("count"));
    const clients = Array.from({ length: count }, async (_, i) => {
      await sleep(i * 20);
      return await client(env, searchParams.get("path")!, searchParams.get("engine")!);
    });
    return Response.json(await Promise.all(clients));
  },
};
