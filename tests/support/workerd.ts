/**
 * Runs a Worker in the real workerd (through miniflare), with real KV and Durable Object bindings, no account
 * needed:
 *
 * await using worker = await startWorkerd({ script: `import { app } from "./tests/hono/app.ts"; export
 * default app;`, kv: ["CACHE"], }); const response = await worker.fetch("/path");
 *
 * The Worker imports `@holdfast/edge/…`, npm packages and `cloudflare:…` like a user's own. There is no
 * `nodejs_compat`: a `node:` import does not start. workerd is a child process with sockets of its own, so a
 * test that uses it sets `sanitizeOps: false, sanitizeResources: false` (`workerdTest` does), and stands last
 * in its file: miniflare cleans up after its end. A start takes about a second: share one per file.
 */
import { bundle } from "./bundle.ts";

/** The script that runs, and its bindings. */
export interface WorkerdOptions {
  /** The Worker's module: a file, or */
  readonly entry?: string | URL;
  /** its source, which imports as a file at the repository's root would. */
  readonly script?: string;
  /** Names of KV namespaces it finds in `env`. */
  readonly kv?: readonly string[];
  /** Names of D1 databases it finds in `env`. */
  readonly d1?: readonly string[];
  /** Durable Objects it finds in `env`, all SQLite-backed: binding → name of the class it exports. */
  readonly durableObjects?: Readonly<Record<string, string>>;
  /**
   * Whether the classes of the objects have SQLite storage (`new_sqlite_classes`) or not (`new_classes`).
   * @default {true}
   */
  readonly sqlite?: boolean;
  /**
   * The name in `env` of a service binding to the Worker itself: with an AbortSignal, its requests can be
   * cancelled.
   */
  readonly self?: string;
  /** Names of `send_email` bindings that it finds in `env`, and the addresses that each may send to. */
  readonly sendEmail?: Readonly<Record<string, readonly string[]>>;
  /** Plain values it finds in `env`. */
  readonly vars?: Readonly<Record<string, string>>;
  /** A folder that keeps KV and objects over a restart; without one they die with the Worker. */
  readonly persist?: string;
  /** The port to listen on; a free one by default. */
  readonly port?: number;
  /** The latest that miniflare 4 knows is 2026-08-06. */
  readonly compatibilityDate?: string;
}

/** A running Worker. */
export interface Workerd extends AsyncDisposable {
  /** The address at which it listens, without a slash at the end. */
  readonly url: string;
  /** Sends a request; a connection each, as a kept one may be closed just when it is used again. */
  fetch(path: string, init?: RequestInit): Promise<Response>;
  /** Ends workerd and starts it again: everything in memory is lost, what `persist` keeps is not. */
  restart(): Promise<void>;
}

/** Bundles and starts a Worker. */
export async function startWorkerd(options: WorkerdOptions): Promise<Workerd> {
  const { kv = [], d1 = [], durableObjects = {}, sqlite = true, vars = {}, persist, port = 0 } = options;
  const { code } = await bundle(options);
  const settings = {
    modules: [{ type: "ESModule", path: "worker.mjs", contents: code }],
    compatibilityDate: options.compatibilityDate ?? "2026-07-01",
    host: "127.0.0.1",
    port,
    cf: false,
    kvNamespaces: [...kv],
    d1Databases: [...d1],
    durableObjects: Object.fromEntries(
      Object.entries(durableObjects).map(([name, className]) => [name, { className, useSQLite: sqlite }]),
    ),
    bindings: { ...vars },
    ...(options.sendEmail && {
      email: {
        send_email: Object.entries(options.sendEmail).map(([name, allowed]) => ({
          name,
          allowed_destination_addresses: [...allowed],
        })),
      },
    }),
    ...(persist === undefined ? {} : { kvPersist: `${persist}/kv`, durableObjectsPersist: `${persist}/do` }),
  };
  const bound = options.self === undefined ? settings : {
    ...settings,
    serviceBindings: { [options.self]: (await loadMiniflare()).kCurrentWorker },
  };
  let running = await start(bound);
  let url = await address(running);
  const client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
  return {
    get url() {
      return url;
    },
    fetch: (path, init) => fetch(url + path, { ...init, client }),
    async restart() {
      await running.dispose();
      running = await start(bound);
      url = await address(running);
    },
    async [Symbol.asyncDispose]() {
      client.close();
      await running.dispose();
    },
  };
}

/** The settings of `wrangler.toml`, for `startWorkerd`. */
export async function wranglerOptions(): Promise<WorkerdOptions> {
  const { parse } = await import("smol-toml");
  const root = new URL("../../", import.meta.url);
  const toml = parse(await Deno.readTextFile(new URL("wrangler.toml", root))) as unknown as {
    main: string;
    compatibility_date: string;
    durable_objects: { bindings: { name: string; class_name: string }[] };
    kv_namespaces?: { binding: string }[];
  };
  return {
    entry: new URL(toml.main, root),
    compatibilityDate: toml.compatibility_date,
    kv: (toml.kv_namespaces ?? []).map(({ binding }) => binding),
    durableObjects: Object.fromEntries(
      toml.durable_objects.bindings.map(({ name, class_name }) => [name, class_name]),
    ),
  };
}

/** The used part of miniflare. Its own types would bring the Workers' globals into the whole program. */
interface Miniflare {
  readonly ready: Promise<URL>;
  dispose(): Promise<void>;
}

/** Loaded here, as loading it already asks for permissions that a run without workerd does without. */
async function loadMiniflare(): Promise<
  { readonly Miniflare: new (settings: object) => Miniflare; readonly kCurrentWorker: unknown }
> {
  const name = "miniflare";
  return await import(name);
}

async function start(settings: object): Promise<Miniflare> {
  const { Miniflare } = await loadMiniflare();
  return new Miniflare(settings);
}

async function address(running: Miniflare): Promise<string> {
  return (await running.ready).href.replace(/\/$/, "");
}

/** A test that starts workerd, whose process and sockets the sanitizers would take for leaks. */
export function workerdTest(name: string, fn: (t: Deno.TestContext) => Promise<void>): void {
  Deno.test({ name, sanitizeOps: false, sanitizeResources: false, fn });
}
