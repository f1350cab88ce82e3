/**
 * idempotency() over every interleaving of what a streaming handler, its client and a duplicate can do, at
 * small sizes: one run beside no other, and a replay that is byte for byte what the handler made.
 */
import { Hono } from "hono";
import { memoryStore } from "@holdfast/edge";
import { idempotency } from "@holdfast/edge/hono";
import { assertEquals } from "../support/assert.ts";

/**
 * The handler `P`roduces, `E`nds or breaks (`X`); the client `R`eads or leaves (`C`); a `D`uplicate comes.
 */
type Op = "P" | "E" | "X" | "R" | "C" | "D";

function* orders(length: number, before: readonly Op[] = []): Generator<readonly Op[]> {
  if (before.length === length) return yield before;
  const ended = before.includes("E") || before.includes("X");
  for (const op of ["P", "E", "X", "R", "C", "D"] as const) {
    if (ended && (op === "P" || op === "E" || op === "X")) continue;
    if (before.includes("C") && (op === "R" || op === "C")) continue;
    yield* orders(length, [...before, op]);
  }
}

const LENGTH = Number(Deno.env.get("MODEL_LENGTH") ?? 5);
/** A turn of the event loop: promises, and timers that are due. */
const turn = () => new Promise<void>((resolve) => setTimeout(resolve, 0));

async function play(ops: readonly Op[]): Promise<void> {
  let runs = 0;
  let live = 0;
  let source!: ReadableStreamDefaultController<Uint8Array>;
  const app = new Hono();
  app.use(idempotency({ store: memoryStore(), scope: "public" }));
  app.post("/", () => {
    runs++;
    assertEquals(++live, 1, "no second run beside a live one");
    return new Response(
      new ReadableStream<Uint8Array>({
        start: (controller) => void (source = controller),
        cancel: () => void live--,
      }),
    );
  });
  const request = () => app.request("/", { method: "POST", headers: { "idempotency-key": "k" } });
  const made: number[] = [];
  const first = await request();
  const client = first.body!.getReader();
  let ended: "E" | "X" | undefined;
  const duplicate = async () => {
    const answer = await request();
    if (ended === "E") return await judge(answer);
    assertEquals([answer.status, runs], [409, 1], "a duplicate of what still runs, or broke after a 200");
  };
  const judge = async (answer: Response) => {
    assertEquals([answer.status, runs], [200, 1]);
    assertEquals([...new Uint8Array(await answer.arrayBuffer())], made, "the replay");
  };
  for (const op of [...ops, "E"] as const) {
    switch (op) {
      case "P":
        made.push(made.length);
        source.enqueue(new Uint8Array([made.at(-1)!]));
        break;
      case "E":
      case "X":
        if (ended !== undefined) break;
        ended = op;
        live--;
        if (op === "E") source.close();
        else source.error(new Error("broken"));
        await turn();
        break;
      case "R":
        client.read().catch(() => {});
        break;
      case "C":
        client.cancel().catch(() => {});
        break;
      case "D":
        await duplicate();
    }
    await Promise.resolve();
  }
  await turn();
  const answer = await request();
  if (ended === "E") return await judge(answer);
  const { title } = await answer.json();
  assertEquals([answer.status, title, runs], [409, "The response was not retained", 1], "it broke");
}

Deno.test(`idempotency() serves and replays right in every interleaving of ${LENGTH} operations`, async () => {
  let count = 0;
  const all = [...orders(LENGTH)];
  // Many at once: each waits for turns of the event loop, and shares nothing with the others.
  for (let at = 0; at < all.length; at += 100) {
    await Promise.all(
      all.slice(at, at + 100).map(async (ops) => {
        try {
          await play(ops);
        } catch (error) {
          throw new Error(`${ops.join("")}: ${(error as Error).message}`);
        }
        count++;
      }),
    );
  }
  assertEquals(count, all.length);
});
