/**
 * The response tee, checked over every interleaving of what its source, its client and its lease can do at
 * small sizes: the client gets a prefix of what the source made, the store gets all of it or learns why not,
 * each once.
 */
import { ResponseTee, type TeeOutcome } from "../../src/http/response_tee.ts";
import { assert, assertEquals, assertThrows } from "../support/assert.ts";

/**
 * `P`roduce a chunk, `E`nd or break (`X`) the source; the client `R`eads or `C`ancels; the lease is `L`ost.
 */
type Op = "P" | "E" | "X" | "R" | "C" | "L";

/** Every order of operations up to a length, without those that cannot happen. */
function* orders(length: number, before: readonly Op[] = []): Generator<readonly Op[]> {
  if (before.length > 0) yield before;
  if (before.length === length) return;
  const had = (op: Op) => before.includes(op);
  const ended = had("E") || had("X");
  for (const op of ["P", "E", "X", "R", "C", "L"] as const) {
    if ((op === "P" || op === "E" || op === "X") && ended) continue;
    if ((op === "R" || op === "C") && had("C")) continue;
    if (op === "L" && had("L")) continue;
    yield* orders(length, [...before, op]);
  }
}

const flush = async () => {
  for (let i = 0; i < 30; i++) await Promise.resolve();
};

interface Seen {
  readonly made: number[];
  readonly got: number[];
  readonly outcomes: TeeOutcome[];
  readonly clientEnd: string | undefined;
  readonly cancelled: boolean;
}

/** Plays an order, with a turn of the microtasks after each operation or only at the end. */
async function play(ops: readonly Op[], eager: boolean, maxBytes: number): Promise<Seen> {
  let source!: ReadableStreamDefaultController<Uint8Array>;
  let cancelled = false;
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => void (source = controller),
    cancel: () => void (cancelled = true),
  });
  const tee = new ResponseTee(body, maxBytes);
  const outcomes: TeeOutcome[] = [];
  const client = tee.passOn((outcome) => {
    outcomes.push(outcome);
    return Promise.resolve();
  }).getReader();
  const made: number[] = [];
  const got: number[] = [];
  let clientEnd: string | undefined;
  for (const op of ops) {
    // A stopped source produces nothing more.
    if (cancelled && (op === "P" || op === "E" || op === "X")) continue;
    switch (op) {
      case "P":
        made.push(made.length + 1);
        source.enqueue(new Uint8Array([made.length]));
        break;
      case "E":
        source.close();
        break;
      case "X":
        source.error(new Error("broken"));
        break;
      case "R":
        client.read().then(({ value, done }) => {
          if (done) clientEnd ??= "end";
          else got.push(...value);
        }, () => clientEnd ??= "error");
        break;
      case "C":
        client.cancel().catch(() => {});
        break;
      case "L":
        tee.stop();
    }
    if (eager) await flush();
  }
  await flush();
  return { made, got, outcomes, clientEnd, cancelled };
}

/** The outcome of an order, by a model that knows nothing of streams. */
function judge(ops: readonly Op[], seen: Seen, maxBytes: number): void {
  const { made, got, outcomes, clientEnd, cancelled } = seen;
  assert(outcomes.length <= 1, "the store is notified once");
  assertEquals(got, made.slice(0, got.length), "the client got what was made, in order, each once");
  const left = ops.includes("C");
  if (!left) {
    const wanted = ops.filter((op) => op === "R").length;
    // Chunks that were made before a break may be lost with it, as in any stream.
    if (!ops.includes("X")) assertEquals(got.length, Math.min(wanted, made.length), "a read is answered");
  }
  const [outcome] = outcomes;
  const ended = ops.includes("E") || ops.includes("X");
  switch (outcome?.state) {
    case "whole":
      assert(ops.includes("E"), "only an end is whole");
      assert(made.length <= maxBytes, "too many are not kept");
      assertEquals([...outcome.bytes], made, "the store has every byte once");
      break;
    case "failed":
      assert(ops.includes("X"), "only a broken source has failed");
      break;
    case "too-large":
      assert(made.length > maxBytes, "only a source that made too much is too large");
      break;
    case "stopped":
      assert(ops.includes("L"), "only a lost lease stops");
      break;
    case undefined:
      assert(!ops.includes("L"), "a lost lease is known at once");
      assert(!ended, "what ended is known to have ended, whether its client reads or not");
      assert(made.length <= maxBytes, "too much is known at once, whether its client reads or not");
  }
  const unwanted = left && (outcome?.state === "too-large" || outcome?.state === "stopped");
  assert(!cancelled || unwanted, "a source that the store or the client wants is never cancelled");
  if (unwanted && !ended) assert(cancelled, "a source that nothing reads is cancelled");
  if (left) return; // its reads end by its own leaving
  if (clientEnd === "end") assert(ops.includes("E") && outcome, "the client sees the end after the store");
  if (clientEnd === "error") assert(ops.includes("X") && outcome, "so is an error");
}

const LENGTH = Number(Deno.env.get("TEE_LENGTH") ?? 7);

for (const maxBytes of [10, 1, 0]) {
  Deno.test(`a tee serves client and store correctly in every interleaving of ${LENGTH} operations, up to ${maxBytes} bytes kept`, async () => {
    let count = 0;
    for (const ops of orders(LENGTH)) {
      for (const eager of [true, false]) {
        const seen = await play(ops, eager, maxBytes);
        try {
          judge(ops, seen, maxBytes);
        } catch (error) {
          throw new Error(`${ops.join("")}, ${eager ? "eager" : "at once"}: ${(error as Error).message}`);
        }
        count++;
      }
    }
    assert(count > 1000, "it tried them all");
  });
}

const stream = (...chunks: unknown[]) =>
  new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
      controller.close();
    },
  });

Deno.test("a body of text or bytes is at hand, one that is still being made is not", async () => {
  for (const body of ["text", new Uint8Array([1, 2]), new Blob(["blob"])]) {
    const bytes = new Uint8Array(await new Response(body).arrayBuffer());
    const outcome = await new ResponseTee(new Response(body).body!, 100).atHand();
    // A blob is read by another thread: at hand or not, nothing else.
    if (outcome === undefined) assert(body instanceof Blob);
    else assertEquals(outcome, { state: "whole", bytes });
  }
  let source!: ReadableStreamDefaultController<Uint8Array>;
  const slow = new ReadableStream<Uint8Array>({ start: (controller) => void (source = controller) });
  source.enqueue(new Uint8Array([7]));
  const tee = new ResponseTee(slow, 100);
  assertEquals(await tee.atHand(), undefined);
  source.close();
});

Deno.test("a chunk that its maker or its reader changes afterwards is stored as it was", async () => {
  const mine = new Uint8Array([1, 2]);
  let source!: ReadableStreamDefaultController<Uint8Array>;
  const body = new ReadableStream<Uint8Array>({ start: (controller) => void (source = controller) });
  const tee = new ResponseTee(body, 100);
  const outcome = Promise.withResolvers<TeeOutcome>();
  const client = tee.passOn((it) => Promise.resolve(outcome.resolve(it))).getReader();
  source.enqueue(mine);
  await flush();
  mine.fill(9);
  (await client.read()).value!.fill(8);
  source.close();
  const { state, bytes } = await outcome.promise as TeeOutcome & { state: "whole" };
  assertEquals([state, [...bytes!]], ["whole", [1, 2]]);
});

Deno.test("a source that always has a chunk at hand does not block the event loop, nor is it read beyond the bound", async () => {
  let pulled = 0;
  const endless = () =>
    new ReadableStream<Uint8Array>({
      pull(controller) {
        pulled++;
        controller.enqueue(new Uint8Array(pulled % 2));
      },
    }, { highWaterMark: 0 });
  const tee = new ResponseTee(endless(), 1000);
  const decided = Promise.withResolvers<TeeOutcome>();
  const client = tee.passOn((outcome) => Promise.resolve(decided.resolve(outcome))).getReader();
  assertEquals((await decided.promise).state, "too-large");
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert(pulled < 3000, "it waits for its client beyond the bound");
  const before = pulled;
  await client.cancel();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert(pulled - before <= 1, "nothing reads it any more");
});

Deno.test("text chunks are encoded, other chunks are an error, and a body is read by one", async () => {
  const text = await new ResponseTee(stream("a\u00e9"), 100).atHand();
  assertEquals(text, { state: "whole", bytes: new TextEncoder().encode("a\u00e9") });
  const odd = await new ResponseTee(stream({ length: 3 }), 100).atHand();
  assertEquals(odd?.state, "failed");
  const body = stream("x");
  new ResponseTee(body, 100);
  assertThrows(() => new ResponseTee(body, 100), TypeError);
});
