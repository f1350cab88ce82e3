/**
 * The public suite of tests for HTTP caches (npm `http-cache-tests`, cache-tests.fyi), run against a caching reverse proxy
 * made of `withCache`: its origin and its client are processes of Node, as the suite has them.
 */
import { memoryStore } from "@holdfast/edge";
import { type HttpCacheBaseOptions, withCache } from "@holdfast/edge/http";

/** The suite's results, by the ids of its tests: `true`, or the kind of failure and its message. */
export type Results = Readonly<Record<string, true | readonly [kind: string, message: string]>>;

/** A test of the suite. */
export interface SuiteTest {
  readonly id: string;
  readonly name: string;
  /** `required` by the standard, `optimal` for performance, or a `check` of what caches do. */
  readonly kind?: "required" | "optimal" | "check";
  readonly depends_on?: readonly string[];
  readonly browser_only?: boolean;
}

/** The longest run: the suite takes about half a minute, and several on a busy machine. */
const MAX_RUN = 400_000;

const PACKAGE = new URL("../../node_modules/http-cache-tests/", import.meta.url);

/** Every test of the suite that is meant for shared caches. */
export async function suiteTests(): Promise<SuiteTest[]> {
  const { default: suites } = await import(new URL("tests/index.mjs", PACKAGE).href);
  return suites.flatMap(({ tests }: { tests: SuiteTest[] }) => tests)
    .filter((test: SuiteTest) => test.browser_only !== true);
}

/** The results that the suite ships, by the names of caches, browsers left out. */
export async function shippedResults(): Promise<Map<string, Results>> {
  const { default: index } = await import(new URL("results/index.mjs", PACKAGE).href);
  const shipped = new Map<string, Results>();
  for (const { name, file, type } of index as { name: string; file: string; type: string }[]) {
    if (type === "browser") continue;
    shipped.set(name, JSON.parse(await Deno.readTextFile(new URL(`results/${file}`, PACKAGE))));
  }
  return shipped;
}

/** Whether a test passed, failed, or says nothing, as it was not set up or a test that it depends on failed. */
export function outcome(
  test: SuiteTest,
  tests: ReadonlyMap<string, SuiteTest>,
  results: Results,
): "passed" | "failed" | "void" {
  const result = results[test.id];
  if (result === undefined) return "void";
  const bases = (test.depends_on ?? []).map((id) => tests.get(id)!);
  if (bases.some((base) => outcome(base, tests, results) !== "passed")) return "void";
  if (result === true) return "passed";
  return result[0] === "Setup" ? "void" : "failed";
}

/** A free port of this machine. */
function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  return port;
}

/** Runs the suite against `withCache` with these options. */
export async function runSuite(options: HttpCacheBaseOptions = {}, only = ""): Promise<Results> {
  const port = freePort();
  const pidfile = await Deno.makeTempFile();
  const node = (script: string, env: Record<string, string>) =>
    new Deno.Command("node", {
      args: ["--no-warnings", script],
      cwd: PACKAGE,
      env,
      stdout: "piped",
      stderr: "piped",
    });
  const origin = node("server/server.mjs", {
    npm_config_protocol: "http",
    npm_config_port: String(port),
    npm_config_pidfile: pidfile,
  }).spawn();
  const handler = withCache((request) => forward(request, port), { store: memoryStore(), ...options });
  const proxy = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
    try {
      return await handler(request);
    } catch {
      return new Response(null, { status: 502 });
    }
  });
  try {
    await answering(port);
    const base = `http://127.0.0.1:${proxy.addr.port}`;
    const which = { npm_config_id: only, npm_package_config_id: only };
    const client = node("cli.mjs", { npm_config_base: base, ...which }).spawn();
    // A cache that leaves one request without an answer would keep the suite for ever.
    const timer = setTimeout(() => client.kill(), MAX_RUN);
    const { stdout, stderr } = await client.output();
    clearTimeout(timer);
    const text = new TextDecoder().decode(stdout);
    if (only !== "") return { [only]: ["dump", text] };
    const json = text.slice(Math.max(0, text.indexOf("{")));
    if (json === "") throw new Error(`Cannot read the suite's results: ${new TextDecoder().decode(stderr)}`);
    return JSON.parse(json);
  } finally {
    origin.kill();
    await Promise.all([origin.stdout.cancel(), origin.stderr.cancel(), origin.status]);
    await proxy.shutdown();
    await Deno.remove(pidfile);
  }
}

/** Asks the suite's origin. */
async function forward(request: Request, port: number): Promise<Response> {
  const { pathname, search } = new URL(request.url);
  return await fetch(`http://127.0.0.1:${port}${pathname}${search}`, {
    method: request.method,
    headers: request.headers,
    body: request.body,
    redirect: "manual",
    signal: request.signal,
  });
}

async function answering(port: number): Promise<void> {
  for (let attempt = 0; attempt < 600; attempt++) {
    try {
      await (await fetch(`http://127.0.0.1:${port}/state/none`)).body?.cancel();
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  throw new Error("Cannot run the suite as its origin does not answer");
}
