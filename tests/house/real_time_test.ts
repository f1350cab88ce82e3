/**
 * No test may fail because the machine is slow. What such tests measured most often is how long something took; a bound
 * on that tells a call that hangs from one that ends, and nothing finer.
 */
import { assert, assertEquals } from "../support/assert.ts";

/** The least that a bound on elapsed real time may be, in milliseconds. */
const LEAST = 10_000;

/** A difference of two readings of a clock that no test can move. */
const ELAPSED = String.raw`(?:performance|Date)\.now\(\) - \w+`;

/** The bounds in a test's source that are too narrow. */
function narrowBounds(source: string): string[] {
  const named = [...source.matchAll(new RegExp(String.raw`(?:const|let) (\w+) = ${ELAPSED};`, "g"))]
    .map(([, name]) => name!);
  const measured = [ELAPSED, ...named.map((name) => String.raw`\b${name}`)].join("|");
  // The literal itself: `lease + 2000` and other sums are what their author thought about.
  const bound = new RegExp(String.raw`assert\(.*(?:${measured}) <=? ([\d_]+)\b(?! *[*+\w])`);
  return source.split("\n").filter((line) => {
    const most = bound.exec(line)?.[1];
    return most !== undefined && Number(most.replaceAll("_", "")) < LEAST;
  });
}

async function* testFiles(folder: URL): AsyncIterable<URL> {
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (isDirectory) yield* testFiles(new URL(`${name}/`, folder));
    else if (name.endsWith(".ts")) yield new URL(name, folder);
  }
}

Deno.test("house: no test asserts that something took less than ten seconds of real time", async () => {
  const narrow: string[] = [];
  let read = 0;
  for await (const file of testFiles(new URL("../", import.meta.url))) {
    if (file.href === import.meta.url) continue;
    read++;
    const name = file.pathname.split("/tests/").at(-1);
    for (const line of narrowBounds(await Deno.readTextFile(file))) narrow.push(`${name}: ${line.trim()}`);
  }
  assert(read > 200, `only ${read} files read`);
  assertEquals(narrow, [], "count steps, move a clock or wait for a condition instead");
});

Deno.test("house: a narrow bound on real time is seen, by its name or without one, and a wide one is not", () => {
  assertEquals(narrowBounds("  assert(performance.now() - began < 3000);").length, 1);
  assertEquals(
    narrowBounds("const took = Date.now() - since;\nassert(took >= 5 && took < 250, text);").length,
    1,
  );
  assertEquals(narrowBounds("assert(performance.now() - began < 10_000);"), []);
  assertEquals(narrowBounds("const took = clock.now() - since;\nassert(took < 250);"), []);
  assertEquals(narrowBounds("const took = performance.now() - since;\nassert(took >= 100);"), []);
});
