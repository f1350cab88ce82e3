/**
 * Answers that cannot be kept, over real sockets of every runtime: a client that reads nothing, one that
 * leaves, a body that breaks. The work was done, so each retry learns that at once, and none ever runs it
 * again.
 */
import { assert, assertEquals } from "../support/assert.ts";
import { startWorkerd, workerdTest } from "../support/workerd.ts";
import { CHUNK, MAX_HOLD, type Work } from "./_large_app.ts";
import { withServer } from "./_server.ts";

const MEBIBYTE = 1_048_576;
const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** The part of an answer that a client reads before it leaves or waits, in bytes. */
type Reads = "nothing" | "half" | "more than is kept" | "all";

const BYTES: Record<Reads, number> = {
  nothing: 0,
  half: MEBIBYTE / 2,
  "more than is kept": MEBIBYTE + 2 * CHUNK,
  all: Infinity,
};

interface Case {
  readonly kind: "large" | "endless" | "broken";
  readonly reads: Reads;
  readonly leaves: boolean;
}

const CASES: readonly Case[] = [
  { kind: "large", reads: "nothing", leaves: false },
  { kind: "large", reads: "half", leaves: true },
  { kind: "large", reads: "more than is kept", leaves: true },
  { kind: "endless", reads: "nothing", leaves: false },
  { kind: "endless", reads: "half", leaves: true },
  { kind: "endless", reads: "more than is kept", leaves: true },
  { kind: "broken", reads: "all", leaves: true },
];

/** Sends the request over a socket of its own and reads that much of the answer. */
async function send(url: URL, key: string, reads: Reads): Promise<Deno.TcpConn> {
  const socket = await Deno.connect({ hostname: url.hostname, port: Number(url.port) });
  const head = [
    `POST ${url.pathname} HTTP/1.1`,
    `Host: ${url.host}`,
    `Idempotency-Key: ${key}`,
    "Content-Length: 0",
    "",
    "",
  ];
  await socket.write(new TextEncoder().encode(head.join("\r\n")));
  const buffer = new Uint8Array(CHUNK);
  for (let read = 0; read < BYTES[reads];) {
    const bytes = await socket.read(buffer).catch(() => null);
    if (bytes === null) break; // it broke
    read += bytes;
    // The last chunk of a whole answer ends with these; a broken one lacks them.
    if (reads === "all" && new TextDecoder().decode(buffer.subarray(0, bytes)).endsWith("\r\n0\r\n\r\n")) {
      break;
    }
  }
  return socket;
}

/** The answers to a client and its retries. */
interface Seen {
  /** The milliseconds until a retry learned that the work was done. */
  readonly learned: number;
  readonly answers: readonly string[];
}

async function play(base: string, shape: string, { kind, reads, leaves }: Case, key: string): Promise<Seen> {
  const url = new URL(`/${shape}/${kind}`, base);
  const client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
  const socket = await send(url, key, reads);
  if (leaves) socket.close();
  const answers = new Set<string>();
  const began = performance.now();
  let learned = Infinity;
  // Past `maxHold`, at which the key would be free.
  for (; performance.now() < began + MAX_HOLD + 1500; await pause(learned === Infinity ? 20 : 200)) {
    const response = await fetch(url, { method: "POST", headers: { "idempotency-key": key }, client });
    const known = response.headers.get("content-type") === "application/problem+json";
    const said = known ? (await response.json()).title : `status ${response.status}`;
    if (!known) await response.body?.cancel();
    answers.add(said);
    if (said.includes("not retained")) learned = Math.min(learned, performance.now() - began);
  }
  if (!leaves) socket.close();
  client.close();
  return { learned, answers: [...answers] };
}

/** All cases at once, each with a key of its own. */
async function drive(base: string, runtime: string): Promise<void> {
  const keyOf = (shape: string, { kind, reads }: Case) => `${shape}-${kind}-${reads}`.replaceAll(" ", "-");
  const all = ["hono", "plain"].flatMap((shape) => CASES.map((it) => [shape, it] as const));
  const seen = await Promise.all(all.map(([shape, it]) => play(base, shape, it, keyOf(shape, it))));
  const works: Record<string, Work> = await (await fetch(new URL("/works", base))).json();
  for (const [index, [shape, it]] of all.entries()) {
    const key = keyOf(shape, it);
    const what = `${runtime}, ${key}`;
    const { learned, answers } = seen[index]!;
    const { runs, cancelled, chunks } = works[key]!;
    assertEquals(runs, 1, `${what}: one run`);
    const wanted = ["A request is outstanding for this Idempotency-Key", "The response was not retained"];
    assertEquals(answers.filter((answer) => !wanted.includes(answer)), [], what);
    assert(learned < MAX_HOLD - 1000, `${what}: known before \`maxHold\`, after ${learned} ms`);
    // workerd does not tell that a client has left; it ends the request by itself.
    if (it.kind === "endless" && it.leaves && runtime !== "workerd") {
      assertEquals(cancelled, 1, `${what}: nothing reads it any more`);
      assert(chunks * CHUNK < 16 * MEBIBYTE, `${what}: it made ${chunks} chunks`);
    }
  }
}

workerdTest(
  "answers that cannot be kept never run again, and those that nothing reads are cancelled",
  async (t) => {
    for (const runtime of ["deno", "node", "bun"] as const) {
      await t.step(runtime, async () => {
        const program = new URL("./_large_serve.ts", import.meta.url);
        await withServer(runtime, program, "", (url) => drive(url, runtime));
      });
    }
    await t.step("workerd", async () => {
      await using worker = await startWorkerd({
        script: `
        import { largeApp } from "./tests/http/_large_app.ts";
        const handler = largeApp();
        export default { fetch: (request, env, ctx) => handler(request, { env, ctx }) };`,
      });
      await drive(worker.url, "workerd");
    });
  },
);
