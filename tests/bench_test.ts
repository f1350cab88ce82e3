/** The README's figures of speed are those of the benches: `bench/results.md`, and nothing else. */
import { assert, assertEquals } from "./support/assert.ts";

const root = new URL("../", import.meta.url);
const results = await Deno.readTextFile(new URL("bench/results.md", root));

/** The ratios of the results by the name of their line. */
const ratios = new Map(
  Array.from(
    results.matchAll(/^\| <a id="([^"]+)"><\/a>[^|]*\|[^|]*\|\s*([\d.]+)\s*\|/gm),
    ([, id, ratio]) => [id!, ratio!],
  ),
);

/** A figure of speed: "4.5×", "3 times as fast", "twice as fast". */
const FIGURE =
  /\b\d+(?:\.\d+)?\s?(?:×|x faster|times (?:as fast|faster|cheaper))|\b(?:twice|thrice) as fast/g;
const QUOTE = /\[(\d+(?:\.\d+)?)\s?(?:×|times as fast)\]\(bench\/results\.md#([a-z0-9-]+)\)/g;

/** The faults of a text that quotes figures: what is not linked, not in the results, or another figure than there. */
function faults(text: string): string[] {
  const prose = text.replace(/^```[\s\S]*?^```$/gm, "");
  const found: string[] = [];
  for (const [quote, figure, id] of prose.matchAll(QUOTE)) {
    const ratio = ratios.get(id!);
    const digits = figure!.split(".")[1]?.length ?? 0;
    if (ratio === undefined) found.push(`${quote}: no such line`);
    else if (Number(ratio).toFixed(digits) !== figure) found.push(`${quote}: the results say ${ratio}`);
  }
  const rest = prose.replace(QUOTE, "");
  for (const [figure] of rest.matchAll(FIGURE)) {
    found.push(`${figure}: not linked to its line of the results`);
  }
  return found;
}

Deno.test("README: every figure of speed is linked to its line of bench/results.md, and is the one there", async () => {
  assert(ratios.size > 20, `${ratios.size} lines of results`);
  assertEquals(faults(await Deno.readTextFile(new URL("README.md", root))), []);
});

Deno.test("README: a figure that is wrong, unknown or not linked is found", () => {
  const [id, ratio] = [...ratios][0]!;
  assertEquals(faults(`It is [${Number(ratio).toFixed(1)}×](bench/results.md#${id}).`), []);
  assertEquals(faults(`It is [${(Number(ratio) + 1).toFixed(1)}×](bench/results.md#${id}).`).length, 1);
  assertEquals(faults("It is [2.0×](bench/results.md#nothing-of-ours).").length, 1);
  assertEquals(faults("It is 3 times as fast, or 4.5×, and twice as fast.").length, 3);
});

Deno.test("results: every line has a name of its own, and every plot that is shown exists", async () => {
  const names = Array.from(results.matchAll(/<a id="([^"]+)">/g), ([, id]) => id!);
  assertEquals(new Set(names).size, names.length);
  const plots = Array.from(results.matchAll(/\]\((plots\/[a-z_]+\.svg)\)/g), ([, file]) => file!);
  assert(plots.length >= 4, `${plots.length} plots`);
  for (const file of plots) {
    assert((await Deno.readTextFile(new URL(`bench/${file}`, root))).startsWith("<svg"), file);
  }
});
