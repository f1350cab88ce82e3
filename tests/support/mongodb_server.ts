/**
 * A server that speaks MongoDB's protocol: the one that `MONGODB_URL` names, or FerretDB 1.24 over SQLite, built once
 * into `.cache/ferretdb` where Go is on the machine. Otherwise there is none, and the laws of this engine do not run.
 */

/** A running server. */
export interface MongodbServer extends AsyncDisposable {
  /** The address for clients. */
  readonly url: string;
  /** The name and version, for the report. */
  readonly product: string;
}

const VERSION = "v1.24.0";
const MODULE = `github.com/FerretDB/FerretDB@${VERSION}`;

/** Starts a server; `undefined` when neither `MONGODB_URL` nor Go is there. */
export async function startMongodb(): Promise<MongodbServer | undefined> {
  const given = Deno.env.get("MONGODB_URL");
  if (given) return { url: given, product: "MongoDB", [Symbol.asyncDispose]: () => Promise.resolve() };
  const binary = await built();
  if (binary === undefined) return undefined;
  const folder = await Deno.makeTempDir();
  const port = freePort();
  const server = new Deno.Command(binary, {
    args: [
      "--handler=sqlite",
      `--sqlite-url=file:${folder}/`,
      `--state-dir=${folder}`,
      `--listen-addr=127.0.0.1:${port}`,
      "--debug-addr=-",
      "--telemetry=disable",
      "--log-level=error",
    ],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  await accepting(port);
  return {
    url: `mongodb://127.0.0.1:${port}/`,
    product: "FerretDB 1.24 over SQLite",
    async [Symbol.asyncDispose]() {
      server.kill("SIGKILL");
      await server.status;
      await Deno.remove(folder, { recursive: true });
    },
  };
}

const FOLDER = new URL("../../.cache/ferretdb/", import.meta.url).pathname;
const BINARY = FOLDER + "ferretdb";

/** Whether a server starts at once: it is elsewhere, or built already. */
export async function mongodbIsBuilt(): Promise<boolean> {
  return Boolean(Deno.env.get("MONGODB_URL")) || await Deno.stat(BINARY).then(() => true, () => false);
}

async function built(): Promise<string | undefined> {
  const [folder, binary] = [FOLDER, BINARY];
  if (await mongodbIsBuilt()) return binary;
  try {
    await Deno.mkdir(folder, { recursive: true });
    const module = await go(["mod", "download", "-json", MODULE], folder);
    if (module === undefined) return undefined;
    // The module lacks a file that its own build makes; its command does not start without it. So a copy is built.
    const source = folder + "source";
    await new Deno.Command("cp", { args: ["-r", JSON.parse(module).Dir, source] }).output();
    await new Deno.Command("chmod", { args: ["-R", "u+w", source] }).output();
    await Deno.writeTextFile(source + "/build/version/version.txt", VERSION);
    const done = await go(["build", "-buildvcs=false", "-o", binary, "./cmd/ferretdb"], source);
    await Deno.remove(source, { recursive: true });
    return done === undefined ? undefined : binary;
  } catch {
    return undefined; // no Go
  }
}

/** The output of a Go command; `undefined` when it fails. */
async function go(args: string[], cwd: string): Promise<string | undefined> {
  const options = { args, cwd, stdin: "null", stdout: "piped", stderr: "null" } as const;
  const { success, stdout } = await new Deno.Command("go", options).output();
  return success ? new TextDecoder().decode(stdout).trim() : undefined;
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

async function accepting(port: number): Promise<void> {
  for (let attempt = 0; attempt < 1200; attempt++) {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  throw new Error("FerretDB did not start within a minute");
}
