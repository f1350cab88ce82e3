/** The REST endpoint in a worker of its own, which breaks one request in five: see `startFaultyServer`. */
import { Random } from "../support/random.ts";
import { type Fault, startUpstash } from "../support/upstash_server.ts";

/** A running endpoint. */
export interface FaultyServer extends Disposable {
  readonly url: string;
  readonly token: string;
}

/** Starts the endpoint in front of a Redis; `rate` is the share of requests that meet a fault. */
export async function startFaultyServer(port: number, seed: number, rate: number): Promise<FaultyServer> {
  const worker = new Worker(import.meta.url, { type: "module" });
  const address = await new Promise<{ url: string; token: string }>((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = reject;
    worker.postMessage({ port, seed, rate });
  });
  return { ...address, [Symbol.dispose]: () => worker.terminate() };
}

const limited = { status: 429, body: '{"error":"slow down"}' };
const failed = { status: 500, body: '{"error":"ERR internal"}' };

/** The faults, each as likely as the others. */
const faults = (random: Random): Fault =>
  random.pick<Fault>([
    { cut: "after" },
    { cut: "before" },
    { drop: "after" }, // Deno's fetch sends the request again when the connection was a reused one
    { drop: "before" },
    limited,
    { ...limited, execute: true },
    failed,
    { ...failed, execute: true },
    { copy: random.below(30) }, // while other calls go on
    { delay: random.below(20) },
  ]);

if ("WorkerGlobalScope" in globalThis && "onmessage" in globalThis) {
  const scope = globalThis as unknown as Worker;
  scope.onmessage = async ({ data }) => {
    const { port, seed, rate } = data as { port: number; seed: number; rate: number };
    const random = new Random(seed);
    const server = await startUpstash(port);
    server.fault = () => random.chance(rate) ? faults(random) : undefined;
    scope.postMessage({ url: server.url, token: server.token });
  };
}
