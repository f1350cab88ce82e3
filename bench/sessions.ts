/**
 * The cost of a session middleware for a request, beside its peers, in one run: `deno task bench:sessions`.
 * Each round serves the same requests by all contenders one after the other; the median of the rounds is
 * printed, less what Hono alone takes. Processor time is measured, all threads included, so that a busy
 * machine does not count. Ratios count, not the figures.
 */
import process from "node:process";
import { useSession, useSessionStorage } from "@hono/session";
import { type Context, Hono } from "hono";
import { MemoryStore, sessionMiddleware } from "hono-sessions";
import { memoryStore } from "@holdfast/edge";
import { createSealedSessions } from "@holdfast/edge/sessions";
import { session } from "@holdfast/edge/hono";

const ROUNDS = 15;
const REQUESTS = 1000;
/** The noise of Hono alone, in microseconds: smaller differences mean nothing. */
const NOISE = 1;
const SECRET = "0123456789abcdef".repeat(4);

// deno-lint-ignore no-explicit-any
type AnyContext = Context<any>;
type Handler = (c: AnyContext) => Response | Promise<Response>;

interface Contender {
  readonly name: string;
  readonly app: Hono;
  cookie: string;
}

/** Three routes: one that leaves the session alone, one that reads a value, one that counts. */
function contender(name: string, use: (app: Hono) => unknown, read: Handler, write: Handler): Contender {
  const app = new Hono();
  use(app);
  app.get("/anonymous", (c) => c.text("hello")).get("/read", read).get("/write", write);
  return { name, app, cookie: "" };
}

const ours: [Handler, Handler] = [
  async (c) => c.text(String(await c.get("session").get("n"))),
  async (c) => {
    c.get("session").set("n", 1 + Number(await c.get("session").get("n") ?? 0));
    return c.text("counted");
  },
];
const honoSession: [Handler, Handler] = [
  async (c) => c.text(String((await c.get("session").get())?.n)),
  async (c) => {
    await c.get("session").get();
    await c.get("session").update((data: { n?: number } | null) => ({ n: 1 + Number(data?.n ?? 0) }));
    return c.text("counted");
  },
];
const records = new Map<string, Record<string, unknown>>();
const storage = {
  get: (sid: string) => records.get(sid) ?? null,
  set: (sid: string, value: Record<string, unknown>) => void records.set(sid, value),
  delete: (sid: string) => void records.delete(sid),
};
const plain: Handler = (c) => c.text("hello");

const bare = contender("Hono alone", () => {}, plain, plain);
const contenders = [
  bare,
  contender("holdfast, memory", (app) => app.use(session({ store: memoryStore() })), ...ours),
  contender(
    "holdfast, sealed",
    (app) =>
      app.use(
        session({ sessions: createSealedSessions({ keys: [{ id: "a", secret: new Uint8Array(32) }] }) }),
      ),
    ...ours,
  ),
  contender(
    "hono-sessions, memory",
    (app) => app.use(sessionMiddleware({ store: new MemoryStore() }) as never),
    (c) => c.text(String(c.get("session").get("n"))),
    (c) => {
      c.get("session").set("n", 1 + Number(c.get("session").get("n") ?? 0));
      return c.text("counted");
    },
  ),
  contender("@hono/session, Map", (app) => {
    app.use(useSessionStorage(storage as never) as never);
    app.use(useSession({ secret: SECRET }) as never);
  }, ...honoSession),
  contender(
    "@hono/session, sealed",
    (app) => app.use(useSession({ secret: SECRET }) as never),
    ...honoSession,
  ),
];
const KINDS = ["anonymous", "read", "write"] as const;
type Kind = typeof KINDS[number];

async function serve({ app, cookie }: Contender, kind: Kind): Promise<Response> {
  const headers = kind === "anonymous" ? {} : { cookie };
  return await app.fetch(new Request(`http://localhost/${kind}`, { headers }));
}

/** Microseconds a request. */
async function measure(contender: Contender, kind: Kind): Promise<number> {
  (globalThis as { gc?: () => void }).gc?.(); // so that no candidate pays for the garbage of another
  for (let i = 0; i < REQUESTS / 10; i++) await serve(contender, kind);
  const began = process.cpuUsage();
  for (let i = 0; i < REQUESTS; i++) await serve(contender, kind);
  const { user, system } = process.cpuUsage(began);
  return (user + system) / REQUESTS;
}

const median = (times: readonly number[]) => times.toSorted((a, b) => a - b)[times.length >> 1]!;
const times = new Map<string, number[]>();
const at = (name: string, kind: Kind) => median(times.get(`${name} ${kind}`)!);

for (const contender of contenders) {
  const response = await serve(contender, "write");
  contender.cookie = response.headers.getSetCookie().map((text) => text.split(";")[0]).join("; ");
  const read = await (await serve(contender, "read")).text();
  if (contender !== bare && read !== "1") {
    throw new Error(`${contender.name} does not keep its session: ${read}`);
  }
}
for (let round = 0; round <= ROUNDS; round++) {
  for (const kind of KINDS) {
    for (const contender of contenders) {
      const time = await measure(contender, kind);
      const key = `${contender.name} ${kind}`;
      if (round > 0) times.set(key, [...times.get(key) ?? [], time]); // the first round warms up
    }
  }
}

function print(name: string, cells: readonly string[]): void {
  // deno-lint-ignore no-console
  console.log(name.padEnd(44), ...cells.map((cell) => cell.padStart(11)));
}
const cost = (name: string, kind: Kind) => at(name, kind) - at("Hono alone", kind);

print("µs a request", KINDS);
for (const { name } of contenders) print(name, KINDS.map((kind) => at(name, kind).toFixed(1)));
print("\nµs the middleware costs", KINDS);
for (const { name } of contenders.slice(1)) print(name, KINDS.map((kind) => cost(name, kind).toFixed(1)));
print("\nhow many times cheaper", KINDS);
for (
  const [mine, peer] of [
    ["holdfast, memory", "hono-sessions, memory"],
    ["holdfast, memory", "@hono/session, Map"],
    ["holdfast, sealed", "@hono/session, sealed"],
  ] as const
) {
  const times = KINDS.map((kind) => {
    const least = Math.max(cost(mine, kind), NOISE);
    return (least === NOISE ? "≥ " : "") + (Math.max(cost(peer, kind), NOISE) / least).toFixed(1);
  });
  print(`${mine} ÷ ${peer}`, times);
}
