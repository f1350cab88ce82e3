import { withTimeout } from "../src/deadline.ts";
import { assert, assertEquals, assertRejects } from "./support/assert.ts";

const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
const never = () => new Promise<never>(() => {});
const late = () => new Error("late");

Deno.test("withTimeout(): calls that share a timer end each at its own time", async () => {
  const ends: number[] = [];
  const call = async () => {
    const began = performance.now();
    const error = await assertRejects(() => withTimeout(never(), 200, undefined, late), Error);
    assertEquals(error.message, "late");
    ends.push(performance.now() - began);
  };
  const calls = [call()];
  for (let i = 0; i < 4; i++) {
    await sleep(30);
    calls.push(call());
  }
  await Promise.all(calls);
  // A timer may be a little early, and on a busy machine late.
  assert(ends.every((end) => end >= 195), String(ends));
});

Deno.test("withTimeout(): a timer outlives its call by no more than the caller's next step", async () => {
  const { setTimeout: set, clearTimeout: clear } = globalThis;
  let [made, cleared] = [0, 0];
  globalThis.setTimeout = ((...args: Parameters<typeof set>) => (made++, set(...args))) as typeof set;
  globalThis.clearTimeout = ((id: number) => (cleared++, clear(id))) as typeof clear;
  try {
    for (let i = 0; i < 50; i++) await withTimeout(Promise.resolve(i), 60_000, undefined, late);
    assertEquals(made, 1, "calls of which one follows the other share a timer");
    for (let i = 0; i < 20; i++) await undefined;
    assertEquals(cleared, 1, "without a macrotask in between");
    await withTimeout(Promise.resolve(), 60_000, undefined, late);
    for (let i = 0; i < 20; i++) await undefined;
    assertEquals([made, cleared], [2, 2]);
  } finally {
    globalThis.setTimeout = set;
    globalThis.clearTimeout = clear;
  }
});

Deno.test("withTimeout(): a call that settles is not ended by the timer of a later one", async () => {
  const first = withTimeout(never(), 60, undefined, late);
  const second = withTimeout(sleep(20).then(() => "done"), 60, undefined, late);
  assertEquals(await second, "done");
  assertEquals((await assertRejects(() => first, Error)).message, "late");
});

Deno.test("withTimeout(): a time longer than a timer can last does not end the call at once", async () => {
  const month = 30 * 24 * 3_600_000;
  assertEquals(await withTimeout(sleep(20).then(() => "done"), month, undefined, late), "done");
});
