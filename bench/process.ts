/**
 * The cost of the contracts in the process, beside their peers: `deno task bench:process`. Under Deno and
 * Node; the calls, the memory store, and the processor time of servers over HTTP, each in a process of its
 * own. Ratios count, not the figures: contenders take turns, and the ratio of their medians is printed with
 * the spread of the rounds.
 *
 * `PARTS=calls,memory,http`, `RUNTIMES=deno,node`, `ROUNDS` and `OPS` make it shorter.
 */
// deno-lint-ignore-file no-console
import { Agent, request } from "node:http";
import { answerOf, command, program, type Runtime, RUNTIMES } from "./_programs.ts";
import { median, type Ratio, ratioOf, type Samples } from "./_rounds.ts";

/** A ratio that is promised: how many times faster the first contender is than the second. */
export interface Figure {
  readonly runtime: Runtime;
  readonly name: string;
  readonly ratio: Ratio;
  readonly target?: number | undefined;
}

/** All samples of a runtime by name, and the figures made of them. */
export interface ProcessResults {
  readonly samples: Readonly<Record<Runtime, Samples>>;
  readonly figures: readonly Figure[];
}

const ROUNDS = Number(Deno.env.get("ROUNDS") ?? 5);
const REQUESTS = Number(Deno.env.get("REQUESTS") ?? 3000);
/**
 * The requests before the first round, the same for every server. A runtime compiles the functions of a request
 * until some 20,000 have gone through them; a server is meant to serve more.
 */
const WARM_UP = Number(Deno.env.get("WARM_UP") ?? 20_000);
/** Different sessions: of one alone, what is kept of the last request would always be found. */
const SESSIONS = 50;
const parts = (Deno.env.get("PARTS") ?? "calls,memory,http").split(",");
const runtimes = RUNTIMES.filter((name) => (Deno.env.get("RUNTIMES") ?? RUNTIMES.join()).includes(name));

/** A server in a process of its own. */
interface Server {
  readonly name: string;
  readonly port: number;
  readonly process: Deno.ChildProcess;
  readonly cookies: string[];
}

async function startServer(runtime: Runtime, file: string, name: string): Promise<Server> {
  const process = command(runtime, file, [name]).spawn();
  let text = "";
  for await (const chunk of process.stdout.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    const port = /listening on (\d+)/.exec(text)?.[1];
    if (port !== undefined) return { name, port: Number(port), process, cookies: [] };
  }
  throw new Error(`${name} does not listen under ${runtime}`);
}

const agent = new Agent({ keepAlive: true, maxSockets: 8 });
let unique = 0;

function ask(
  { port, cookies }: Server,
  method: string,
  path: string,
): Promise<{ status: number; cookies: string[]; text: string }> {
  const body = method === "POST" ? JSON.stringify({ amount: 4200, currency: "EUR" }) : undefined;
  const headers: Record<string, string> = { user: `user-${unique % 500}` };
  if (cookies.length > 0) headers.cookie = cookies[unique % cookies.length]!;
  if (body !== undefined) {
    headers["content-type"] = "application/json";
    headers["content-length"] = String(body.length);
    headers["idempotency-key"] = `order-${unique}`;
  }
  unique++;
  return new Promise((resolve, reject) => {
    request({ host: "127.0.0.1", port, method, path, headers, agent }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk) => text += chunk).on("end", () => {
        resolve({ status: response.statusCode!, cookies: response.headers["set-cookie"] ?? [], text });
      });
    }).on("error", reject).end(body);
  });
}

/** Microseconds of the server's processor a request. */
async function cost(server: Server, method: string, path: string, requests: number): Promise<number> {
  const cpu = async () => Number((await ask(server, "GET", "/cpu")).text);
  const before = await cpu();
  let left = requests;
  await Promise.all(Array.from({ length: 8 }, async () => {
    while (left-- > 0) {
      const { status, text } = await ask(server, method, path);
      if (status !== 200 && status !== 201) throw new Error(`${server.name} answers ${status}: ${text}`);
    }
  }));
  return (await cpu() - before) / requests;
}

const SERVERS = [
  "bare Hono",
  "holdfast",
  "holdfast with idempotency",
  "hono-sessions and hono-rate-limiter",
  "by hand",
];

async function measureServers(runtime: Runtime): Promise<Samples> {
  const file = await program("_process_server.ts");
  const samples: Samples = {};
  const servers: Server[] = [];
  try {
    for (const name of SERVERS) servers.push(await startServer(runtime, file, name));
    for (const server of servers) {
      const begun: string[] = [];
      for (let i = 0; i < SESSIONS; i++) {
        const { cookies } = await ask(server, "GET", "/start");
        begun.push(cookies.map((text) => text.split(";")[0]).join("; "));
      }
      server.cookies.push(...begun.filter((cookie) => cookie !== ""));
    }
    for (let round = -1; round < ROUNDS; round++) {
      for (const [method, path] of [["GET", "/read"], ["POST", "/charge"]] as const) {
        for (const server of servers) {
          const time = await cost(server, method, path, round < 0 ? WARM_UP : REQUESTS);
          if (round >= 0) (samples[`${method} over HTTP: ${server.name}`] ??= []).push(time * 1000);
        }
      }
    }
  } finally {
    for (const { process } of servers) process.kill("SIGKILL");
    await Promise.all(servers.map(async ({ process }) => {
      await process.stdout.cancel().catch(() => {});
      await process.status;
    }));
  }
  return samples;
}

/** A comparison: ours, the peer, and the least ratio that the project promises itself. */
function comparisons(runtime: Runtime): [ours: string, peer: string, target?: number | undefined][] {
  const list: [string, string, (number | undefined)?][] = [
    ["GET over HTTP: holdfast", "GET over HTTP: bare Hono", 0.6],
    ["GET over HTTP: holdfast", "GET over HTTP: hono-sessions and hono-rate-limiter", 1.3],
    ["POST over HTTP: holdfast", "POST over HTTP: bare Hono", 0.6],
    ["POST over HTTP: holdfast", "POST over HTTP: hono-sessions and hono-rate-limiter", 1.3],
    ["POST over HTTP: holdfast with idempotency", "POST over HTTP: bare Hono", 0.3],
    ["GET over HTTP: holdfast", "GET over HTTP: by hand"],
    ["POST over HTTP: holdfast", "POST over HTTP: by hand"],
    ["GET over HTTP: by hand", "GET over HTTP: bare Hono"],
    ["POST over HTTP: by hand", "POST over HTTP: bare Hono"],
    ["holdfast throttle.check, gcra", "rate-limiter-flexible", 0.5],
    ["holdfast throttle.check, fixed window", "rate-limiter-flexible", 0.5],
    ["cache hit", "memory store get", runtime === "deno" ? 1 / 1.3 : undefined],
    ["cache hit", "lru-cache get, awaited"],
  ];
  for (const size of [1000, 100_000, 1_000_000]) {
    for (const order of ["in order", "random"]) {
      for (const what of ["set", "get"]) {
        const of = (name: string) => `${what}, ${size} keys, ${order}: ${name}`;
        const keyv = size === 100_000 ? (order === "random" ? 2 : 4) : undefined;
        list.push([of("holdfast, JSON and ttl"), of("keyv, JSON and ttl"), keyv]);
        list.push([of("holdfast, text"), of("Map, awaited"), size === 100_000 ? 0.6 : undefined]);
        list.push([of("holdfast, JSON and ttl"), of("lru-cache, ttl, no copy")]);
      }
    }
  }
  return list;
}

/** Runs the parts under the runtimes. */
export async function measureProcess(): Promise<ProcessResults> {
  const samples: Record<Runtime, Samples> = { deno: {}, node: {} };
  const figures: Figure[] = [];
  for (const runtime of runtimes) {
    const own = samples[runtime];
    if (parts.includes("calls")) Object.assign(own, await answerOf<Samples>(runtime, "_process_calls.ts"));
    if (parts.includes("memory")) Object.assign(own, await answerOf<Samples>(runtime, "_process_memory.ts"));
    if (parts.includes("http")) Object.assign(own, await measureServers(runtime));
    for (const [ours, peer, target] of comparisons(runtime)) {
      if (own[ours] === undefined || own[peer] === undefined) continue;
      figures.push({ runtime, name: `${ours} ÷ ${peer}`, ratio: ratioOf(own[ours], own[peer]), target });
    }
  }
  return { samples, figures };
}

if (import.meta.main) {
  const { samples, figures } = await measureProcess();
  for (const runtime of runtimes) {
    console.log(`\n${runtime}`);
    for (const [name, times] of Object.entries(samples[runtime])) {
      const raw = /^(bytes|longest)/.test(name);
      console.log(
        `  ${name.padEnd(70)} ${raw ? median(times).toFixed(1) : (median(times) / 1000).toFixed(3) + " µs"}`,
      );
    }
    for (const { name, ratio, target, runtime: of } of figures) {
      if (of !== runtime) continue;
      const missed = target !== undefined && ratio.median < target ? " MISSED" : "";
      console.log(
        `  ${name.padEnd(100)} ${ratio.median.toFixed(2)} (${ratio.least.toFixed(2)} to ${
          ratio.most.toFixed(2)
        })` +
          (target === undefined ? "" : ` target ${target.toFixed(2)}${missed}`),
      );
    }
  }
  Deno.exit(0); // the agent keeps its sockets
}
