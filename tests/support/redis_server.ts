/** A real redis-server for the tests: from REDIS_SERVER, from PATH, or installed from Debian's packages. */

/** Where a binary came from, kept for the run. */
let found: Promise<string> | undefined;

/** A running redis-server. */
export interface RedisServer extends AsyncDisposable {
  readonly port: number;
  /** Kills it without a goodbye. */
  kill(): Promise<void>;
  /** Starts it again on the same port, empty. */
  start(): Promise<void>;
}

export async function startRedis(): Promise<RedisServer> {
  const binary = await (found ??= findRedis());
  const port = freePort();
  let process: Deno.ChildProcess | undefined;
  const server: RedisServer = {
    port,
    async start() {
      process = new Deno.Command(binary, {
        args: ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
        stdin: "null",
        stdout: "null",
        stderr: "null",
      }).spawn();
      for (let i = 0; i < 200; i++) {
        try {
          (await Deno.connect({ hostname: "127.0.0.1", port })).close();
          return;
        } catch {
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      }
      throw new Error("redis-server did not start");
    },
    async kill() {
      process?.kill("SIGKILL");
      await process?.status;
      process = undefined;
    },
    [Symbol.asyncDispose]: () => server.kill(),
  };
  await server.start();
  return server;
}

function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  return port;
}

async function findRedis(): Promise<string> {
  const cached = `${Deno.cwd()}/.cache/redis/usr/bin/redis-server`;
  for (const path of [Deno.env.get("REDIS_SERVER"), "redis-server", "valkey-server", cached]) {
    if (path && await succeeds(path, "--version")) return path;
  }
  if (Deno.uid() === 0) {
    await succeeds("apt-get", "update", "-qq");
    await succeeds("apt-get", "install", "-y", "-qq", "redis-server");
    if (await succeeds("redis-server", "--version")) return "redis-server";
  } else {
    // Without root the packages are unpacked beside the project; what they link to comes along.
    const folder = `${Deno.cwd()}/.cache/redis`;
    await Deno.mkdir(folder, { recursive: true });
    const packages = [
      "redis-server",
      "redis-tools",
      "libjemalloc2",
      "liblua5.1-0",
      "liblzf1",
      "libatomic1",
      "lua-cjson",
      "lua-bitop",
    ];
    await new Deno.Command("apt-get", { args: ["download", ...packages], cwd: folder }).output().catch(
      () => {},
    );
    await new Deno.Command("sh", { args: ["-c", "for d in *.deb; do dpkg -x $d .; done"], cwd: folder })
      .output();
    const script =
      `#!/bin/sh\nLD_LIBRARY_PATH=$(echo ${folder}/usr/lib/*-linux-gnu) exec ${folder}/usr/bin/redis-check-rdb "$@"\n`;
    await Deno.writeTextFile(`${folder}/redis-server`, script.replace("redis-check-rdb", "redis-server"), {
      mode: 0o755,
    });
    if (await succeeds(`${folder}/redis-server`, "--version")) return `${folder}/redis-server`;
  }
  throw new Error("No redis-server: install it (apt-get install redis-server) or name one in REDIS_SERVER");
}

async function succeeds(command: string, ...args: string[]): Promise<boolean> {
  try {
    return (await new Deno.Command(command, { args, stdin: "null", stdout: "null", stderr: "null" }).output())
      .success;
  } catch {
    return false;
  }
}
