/**
 * Real redis-servers for the tests, alone or as a cluster: from REDIS_SERVER, from PATH, or installed from
 * Debian's packages.
 */

import { type Reply, RespConnection } from "./resp.ts";

/** The path of the binary, kept for the run. */
let found: Promise<string> | undefined;

/** A running redis-server. */
export interface RedisServer extends AsyncDisposable {
  readonly port: number;
  /** Kills the process. */
  kill(): Promise<void>;
  /** Starts it again on the same port, empty. */
  start(): Promise<void>;
  /** Sends it a command of the test's own. */
  send(...command: string[]): Promise<Reply>;
}

/** Starts a server with further arguments of the command line, which apply to its restarts too. */
export async function startRedis(...args: string[]): Promise<RedisServer> {
  const binary = await (found ??= findRedis());
  const port = args.includes("--cluster-enabled") ? freeClusterPort() : freePort();
  let process: Deno.ChildProcess | undefined;
  const server: RedisServer = {
    port,
    async start() {
      process = new Deno.Command(binary, {
        args: ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", ...args],
        stdin: "null",
        stdout: "null",
        stderr: "null",
      }).spawn();
      for (let i = 0; i < 1000; i++) {
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
    async send(...command) {
      const connection = await RespConnection.open(port);
      try {
        return (await connection.send(command))[0]!;
      } finally {
        connection.close();
      }
    },
    [Symbol.asyncDispose]: () => server.kill(),
  };
  await server.start();
  return server;
}

/** A Redis Cluster of masters without replicas. */
export interface RedisCluster extends AsyncDisposable {
  readonly nodes: readonly RedisServer[];
  readonly ports: readonly number[];
}

/** Starts a cluster whose nodes share all slots evenly. */
export async function startCluster(size = 3): Promise<RedisCluster> {
  const folder = await Deno.makeTempDir();
  const nodes = await Promise.all(Array.from({ length: size }, (_, i) => {
    const own = [
      "--cluster-enabled",
      "yes",
      "--cluster-config-file",
      `${folder}/nodes-${i}.conf`,
      "--dir",
      folder,
    ];
    return startRedis(...own);
  }));
  const first = nodes[0]!;
  const share = Math.ceil(16_384 / size);
  for (const [i, node] of nodes.entries()) {
    const last = Math.min((i + 1) * share, 16_384) - 1;
    await node.send("CLUSTER", "ADDSLOTSRANGE", String(i * share), String(last));
    // Distinct epochs end the negotiation between nodes that were just started.
    await node.send("CLUSTER", "SET-CONFIG-EPOCH", String(i + 1));
  }
  for (const node of nodes.slice(1)) await first.send("CLUSTER", "MEET", "127.0.0.1", String(node.port));
  const decoder = new TextDecoder();
  for (const node of nodes) {
    for (let i = 0;; i++) {
      const info = decoder.decode(await node.send("CLUSTER", "INFO") as Uint8Array);
      if (info.includes("cluster_state:ok") && info.includes(`cluster_known_nodes:${size}`)) break;
      if (i === 3000) throw new Error("the cluster did not form");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
  return {
    nodes,
    ports: nodes.map(({ port }) => port),
    async [Symbol.asyncDispose]() {
      await Promise.all(nodes.map((node) => node.kill()));
      await Deno.remove(folder, { recursive: true });
    },
  };
}

/** A port whose bus port is free too: nodes of a cluster talk to each other 10,000 above. */
function freeClusterPort(): number {
  for (;;) {
    const port = freePort();
    if (port > 55_535) continue;
    try {
      Deno.listen({ hostname: "127.0.0.1", port: port + 10_000 }).close();
      return port;
    } catch {
      // taken: the next one
    }
  }
}

function freePort(): number {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  listener.close();
  return port;
}

async function findRedis(): Promise<string> {
  const unpacked = `${Deno.cwd()}/.cache/redis`;
  for (const path of [Deno.env.get("REDIS_SERVER"), "redis-server", "valkey-server", `${unpacked}/run`]) {
    if (path && await succeeds([path, "--version"])) return path;
  }
  if (Deno.uid() === 0) {
    await succeeds(["apt-get", "update", "-qq"]);
    await succeeds(["apt-get", "install", "-y", "-qq", "redis-server"]);
    if (await succeeds(["redis-server", "--version"])) return "redis-server";
  } else if (await unpack(unpacked)) return `${unpacked}/run`;
  throw new Error("No redis-server: install it (apt-get install redis-server) or name one in REDIS_SERVER");
}

/** Without root, Debian's packages are unpacked into a folder, beside what they link to. */
async function unpack(folder: string): Promise<boolean> {
  await Deno.mkdir(folder, { recursive: true });
  const needed = [
    "libatomic1",
    "libhiredis0.14",
    "libjemalloc2",
    "liblua5.1-0",
    "liblzf1",
    "lua-bitop",
    "lua-cjson",
  ];
  for (const name of ["redis-server", "redis-tools", ...needed]) {
    await succeeds(["apt-get", "download", name], folder); // a library the system has under another name need not come
  }
  await succeeds(["sh", "-c", "for package in *.deb; do dpkg -x $package .; done"], folder);
  const libraries = `LD_LIBRARY_PATH=$(echo ${folder}/usr/lib/*-linux-gnu)`;
  await Deno.writeTextFile(
    `${folder}/run`,
    `#!/bin/sh\n${libraries} exec ${folder}/usr/bin/redis-server "$@"\n`,
    {
      mode: 0o755,
    },
  );
  return await succeeds([`${folder}/run`, "--version"]);
}

async function succeeds([command, ...args]: [string, ...string[]], cwd?: string): Promise<boolean> {
  try {
    const options = { args, stdin: "null", stdout: "null", stderr: "null", ...(cwd && { cwd }) } as const;
    return (await new Deno.Command(command, options).output()).success;
  } catch {
    return false;
  }
}
