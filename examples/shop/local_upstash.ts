/** An Upstash endpoint on this machine, in front of a redis-server of its own: nothing is kept after its end. */
import { startUpstash } from "../../tests/support/upstash_server.ts";

/** The running endpoint. */
export interface LocalUpstash {
  readonly url: string;
  readonly token: string;
  close(): Promise<void>;
}

/** Starts both; `undefined` where this machine has no redis-server. */
export async function localUpstash(): Promise<LocalUpstash | undefined> {
  const port = freePort();
  const redis = spawn("redis-server", port) ?? spawn("valkey-server", port);
  if (redis === undefined) return undefined;
  await listening(port);
  const upstash = await startUpstash(port);
  return {
    url: upstash.url,
    token: upstash.token,
    async close() {
      await upstash[Symbol.asyncDispose]();
      redis.kill();
      await redis.status;
    },
  };
}

function spawn(command: string, port: number): Deno.ChildProcess | undefined {
  const args = ["--port", String(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
  try {
    return new Deno.Command(command, { args, stdin: "null", stdout: "null", stderr: "null" }).spawn();
  } catch (error) {
    // A command that does not exist cannot be permitted either.
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotCapable) return undefined;
    throw error;
  }
}

function freePort(): number {
  using listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  return listener.addr.port;
}

async function listening(port: number): Promise<void> {
  for (let attempt = 0; attempt < 200; attempt++) {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
  throw new Error("redis-server did not start");
}
