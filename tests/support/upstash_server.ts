/**
 * An Upstash-compatible REST endpoint in front of a real Redis, faithful where clients can tell, with hooks
 * that break requests and replies. In the mode `plain` it is a proxy in front of plain Redis: scripts pass as
 * they are, and Redis refuses Upstash's own first line.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { systemClock } from "@holdfast/edge";
import { RedisError, type Reply, RespConnection } from "./resp.ts";

/** The fault of one request. */
export type Fault =
  | { readonly copy: number } // answered as usual; a copy of the request is executed so many milliseconds later
  | { readonly cut: "before" | "after" } // the reply breaks off, unexecuted or executed
  | { readonly drop: "before" | "after" } // the connection closes without a reply: SDKs resend, and runtimes may
  | {
    readonly status: number;
    readonly body: string;
    readonly headers?: Record<string, string>;
    readonly execute?: boolean;
  }
  | { readonly delay: number };

/** A request as it arrived. */
export interface LoggedRequest {
  readonly path: string;
  readonly command: unknown;
  readonly bytes: number;
  readonly syncToken: string | null;
}

export interface UpstashServer extends AsyncDisposable {
  readonly url: string;
  readonly token: string;
  /** Every request since the last look; looking forgets. */
  requests(): LoggedRequest[];
  /**
   * Decides what goes wrong with the next requests; answers undefined for those that go well. A request waits for its
   * promise: a test can hold it back until something else has happened.
   */
  fault: ((request: LoggedRequest) => Fault | undefined | Promise<Fault | undefined>) | undefined;
}

/** Options of {@linkcode startUpstash}. */
export interface UpstashServerOptions {
  /** The largest request in bytes. */
  readonly maxRequest?: number;
  /** `upstash` takes the line that lets a script lock its keys; `plain` passes scripts on as they are. */
  readonly mode?: "upstash" | "plain";
}

const REFUSED = new Set([
  "MULTI",
  "EXEC",
  "DISCARD",
  "WATCH",
  "UNWATCH",
  "SUBSCRIBE",
  "PSUBSCRIBE",
  "SELECT",
  "AUTH",
  "MONITOR",
]);
const KEY_LOCKING = "#!lua flags=allow-key-locking\n";
const TOKEN = "test-token";
const READ_ONLY_TOKEN = "read-only-token";
const READS = new Set([
  "GET",
  "MGET",
  "HGET",
  "HGETALL",
  "EXISTS",
  "TTL",
  "PTTL",
  "SCAN",
  "KEYS",
  "PING",
  "ECHO",
  "TYPE",
  "STRLEN",
]);

/** Starts the endpoint on a free port; a number is the largest request. */
export async function startUpstash(
  redisPort: number,
  options: number | UpstashServerOptions = {},
): Promise<UpstashServer> {
  const { maxRequest = 1_048_576, mode = "upstash" } = typeof options === "number"
    ? { maxRequest: options }
    : options;
  const idle: RespConnection[] = [];
  let log: LoggedRequest[] = [];
  let token = 0;
  const closing = new AbortController(); // ends delays when the server stops
  const copies = new Set<Promise<void>>();

  async function withConnection<T>(use: (connection: RespConnection) => Promise<T>): Promise<T> {
    const connection = idle.pop() ?? await RespConnection.open(redisPort);
    const result = await use(connection);
    if (!connection.broken) idle.push(connection);
    return result;
  }

  function checked(command: unknown): string[] {
    if (!Array.isArray(command) || command.length === 0) {
      throw new Refusal(400, "ERR failed to parse command");
    }
    return command.map((arg) => {
      if (["string", "number", "boolean"].includes(typeof arg)) return String(arg);
      throw new Refusal(400, "ERR failed to parse command");
    });
  }

  // Upstash takes a line that lets a script lock its keys alone. Redis refuses it: in this mode, and for
  // exactly this line, the script is passed on without the line, under another hash.
  const plain = new Map<string, string>();
  async function understood(command: string[]): Promise<string[]> {
    if (mode === "plain") return command;
    const [name = "", script = ""] = command;
    if (/^evalsha$/i.test(name)) return command.with(1, plain.get(script.toLowerCase()) ?? script);
    if (!/^eval$/i.test(name) || !script.startsWith(KEY_LOCKING)) return command;
    const rest = script.slice(KEY_LOCKING.length);
    plain.set(await sha1(script), await sha1(rest));
    return command.with(1, rest);
  }

  async function run(given: string[][], atomic: boolean): Promise<Reply[]> {
    const commands = await Promise.all(given.map(understood));
    return await withConnection(async (connection) => {
      const refused = commands.map(([name = ""]) =>
        REFUSED.has(name.toUpperCase())
          ? new RedisError(`ERR Command is not available: '${name}'`)
          : undefined
      );
      if (!atomic) {
        const sent = await connection.send(...commands.filter((_, i) => refused[i] === undefined));
        return refused.map((refusal) => refusal ?? sent.shift()!);
      }
      const replies = await connection.send(["MULTI"], ...commands, ["EXEC"]);
      const result = replies.at(-1)!;
      if (!Array.isArray(result)) {
        const queued = replies.find((reply) => reply instanceof RedisError);
        throw new Refusal(
          400,
          queued instanceof RedisError ? queued.message : "EXECABORT Transaction discarded",
        );
      }
      return result;
    });
  }

  function shown(reply: Reply, base64: boolean): string {
    if (reply === null) return "null";
    if (typeof reply === "number" || typeof reply === "bigint") return String(reply); // its digits: 64 bits survive
    if (Array.isArray(reply)) return `[${reply.map((part) => shown(part, base64)).join(",")}]`;
    if (reply instanceof RedisError) return JSON.stringify({ error: reply.message });
    if (!base64) return JSON.stringify(typeof reply === "string" ? reply : new TextDecoder().decode(reply));
    if (reply === "OK") return '"OK"';
    const bytes = typeof reply === "string" ? new TextEncoder().encode(reply) : reply;
    let binary = "";
    for (const byte of bytes) binary += String.fromCharCode(byte);
    return JSON.stringify(btoa(binary));
  }

  const envelope = (reply: Reply, base64: boolean) =>
    reply instanceof RedisError ? shown(reply, base64) : `{"result":${shown(reply, base64)}}`;

  async function answer(
    request: Request,
    path: string,
    body: Uint8Array,
  ): Promise<{ status: number; body: string }> {
    const url = new URL(request.url);
    const given = request.headers.get("authorization")?.replace(/^Bearer /, "") ??
      url.searchParams.get("_token");
    if (given !== TOKEN && given !== READ_ONLY_TOKEN) {
      return { status: 401, body: '{"error":"Unauthorized"}' };
    }
    if (!["POST", "GET", "PUT", "HEAD"].includes(request.method)) {
      return { status: 405, body: '{"error":"Method not allowed"}' };
    }
    if (body.length > maxRequest) {
      throw new Refusal(
        400,
        `ERR max request size exceeded. Limit: ${maxRequest} bytes, Actual: ${body.length} bytes`,
      );
    }
    const base64 = request.headers.get("upstash-encoding") === "base64";
    const permitted = (commands: string[][]) => {
      if (given === READ_ONLY_TOKEN && !commands.every(([name = ""]) => READS.has(name.toUpperCase()))) {
        throw new Refusal(400, "NOPERM this user has no permissions to run the command");
      }
      return commands;
    };
    const text = new TextDecoder().decode(body);
    if (path === "pipeline" || path === "multi-exec") {
      const commands = JSON.parse(text);
      if (!Array.isArray(commands)) throw new Refusal(400, "ERR failed to parse pipeline request");
      const replies = await run(permitted(commands.map(checked)), path === "multi-exec");
      return { status: 200, body: `[${replies.map((reply) => envelope(reply, base64)).join(",")}]` };
    }
    const command = path === "" ? checked(JSON.parse(text)) : [
      ...path.split("/").map(decodeURIComponent),
      ...(text === "" ? [] : [text]),
      ...[...url.searchParams].filter(([name]) => name !== "_token").flatMap(([name, value]) =>
        value === "" ? [name] : [name, value]
      ),
    ];
    const [reply] = await run(permitted([command]), false);
    return { status: reply instanceof RedisError ? 400 : 200, body: envelope(reply!, base64) };
  }

  async function handle(request: Request): Promise<Response | "cut" | "drop"> {
    const path = new URL(request.url).pathname.replace(/^\/|\/$/g, "");
    const body = new Uint8Array(await request.arrayBuffer());
    let command: unknown = path;
    try {
      if (body.length > 0 && body.length < 100_000) command = JSON.parse(new TextDecoder().decode(body));
    } catch {
      // path style carries a bare value
    }
    const logged = {
      path,
      command,
      bytes: body.length,
      syncToken: request.headers.get("upstash-sync-token"),
    };
    log.push(logged);
    const fault = await server.fault?.(logged);
    if (fault && "delay" in fault) await systemClock.sleep(fault.delay, closing.signal).catch(() => {});
    if (closing.signal.aborted) return "drop";
    if (fault && "copy" in fault) {
      const copy = async () => {
        await systemClock.sleep(fault.copy, closing.signal);
        await answer(request, path, body);
      };
      copies.add(copy().catch(() => {}));
    }
    const broken = fault && breakage(fault);
    if (broken?.when === "before") return broken.how;
    if (fault && "status" in fault && !fault.execute) return new Response(fault.body, fault);
    let result: { status: number; body: string };
    try {
      result = await answer(request, path, body);
    } catch (error) {
      if (error instanceof Refusal) {
        result = { status: error.status, body: JSON.stringify({ error: error.message }) };
      } else if (error instanceof SyntaxError) {
        result = { status: 400, body: '{"error":"ERR failed to parse JSON"}' };
      } else result = { status: 500, body: '{"error":"ERR the database cannot be reached"}' };
    }
    if (broken) return broken.how;
    if (fault && "status" in fault) return new Response(fault.body, fault);
    return new Response(result.body, {
      status: result.status,
      headers: { "content-type": "application/json", "upstash-sync-token": `sync-${++token}` },
    });
  }

  // Of the servers at hand this one can break a connection before it answers.
  const http = createServer(async (incoming, outgoing) => {
    const chunks: Uint8Array[] = [];
    try {
      for await (const chunk of incoming) chunks.push(chunk);
    } catch {
      return; // the client went away in the middle
    }
    const { method = "GET", url = "/" } = incoming;
    const init = { method, headers: incoming.headers as Record<string, string> };
    const bodiless = method === "GET" || method === "HEAD";
    const request = new Request(
      `http://upstash${url}`,
      bodiless ? init : { ...init, body: await new Blob(chunks as BlobPart[]).arrayBuffer() },
    );
    const response = await handle(request);
    if (response === "drop") return void incoming.socket.destroy();
    if (response === "cut") {
      outgoing.writeHead(200, { "content-type": "application/json", "content-length": "100" });
      return void outgoing.write('{"result":', () => incoming.socket.destroy());
    }
    outgoing.writeHead(response.status, Object.fromEntries(response.headers));
    outgoing.end(await response.text());
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const server: UpstashServer = {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    token: TOKEN,
    fault: undefined,
    requests() {
      const since = log;
      log = [];
      return since;
    },
    async [Symbol.asyncDispose]() {
      closing.abort();
      await Promise.all(copies);
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
      for (const connection of idle) connection.close();
    },
  };
  return server;
}

/** The way in which a connection breaks, and on which side of the execution. */
function breakage(fault: Fault): { how: "cut" | "drop"; when: "before" | "after" } | undefined {
  if ("cut" in fault) return { how: "cut", when: fault.cut };
  if ("drop" in fault) return { how: "drop", when: fault.drop };
  return undefined;
}

async function sha1(text: string): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-1", new TextEncoder().encode(text));
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

class Refusal extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}
