/**
 * All benches against peers, and `results.md` with what they found: `deno task bench:all`. On a quiet machine it takes about a
 * quarter of an hour; `ROUNDS`, `OPS`, `REQUESTS`, `COUNT` and `SIZES` make it shorter. The README quotes this file alone, and
 * `tests/bench_test.ts` holds it to it.
 */
import { measureKv } from "./_kv.ts";
import { type Bar, plot } from "./_plot.ts";
import { median, type Ratio } from "./_rounds.ts";
import { measureObjects } from "./objects.ts";
import { measureProcess } from "./process.ts";

const folder = new URL("./", import.meta.url);

/** A line of the tables: what is compared, where, the ratio and the promise. */
interface Line {
  readonly group: string;
  readonly name: string;
  readonly where: string;
  readonly ratio: Ratio;
  readonly target: number | undefined;
}

/** The name by which the README refers to a line. */
function idOf({ name, where }: Line): string {
  return `${where} ${name}`.toLowerCase().replaceAll("÷", "vs").replace(/[^a-z0-9]+/g, "-").replace(
    /^-|-$/g,
    "",
  );
}

function groupOf(name: string): string {
  if (name.includes("HTTP")) return "Requests over HTTP, processor time of the server";
  return /^[sg]et, /.test(name) ? "Memory store" : "Calls on the memory store";
}

const figure = (value: number) => value.toFixed(2);

function row(line: Line): string {
  const { name, where, ratio, target } = line;
  const kept = target === undefined
    ? ""
    : ratio.median >= target
    ? `≥ ${figure(target)}: kept`
    : `≥ ${figure(target)}: missed`;
  const spread = `${figure(ratio.least)} to ${figure(ratio.most)}`;
  return `| <a id="${idOf(line)}"></a>${name} | ${where} | ${figure(ratio.median)} | ${spread} | ${kept} |`;
}

const { samples, figures } = await measureProcess();
const objects = await measureObjects();
const kv = await measureKv();

const lines: Line[] = [
  ...figures.map(({ name, runtime, ratio, target }) => ({
    group: groupOf(name),
    name,
    where: runtime,
    ratio,
    target,
  })),
  ...objects.figures.flatMap(({ name, ratio, processor, target }) => {
    const line = { group: "Durable Objects", where: "workerd" };
    const by = `${name} ÷ an object written by hand`;
    return [
      { ...line, name: by, ratio, target },
      ...(processor ? [{ ...line, name: `${by}, processor time`, ratio: processor, target: undefined }] : []),
    ];
  }),
  { group: "Deno KV", name: "get ÷ Deno KV itself", where: "deno", ratio: kv.ratio, target: kv.target },
];

const text: string[] = [
  "# Results of the benches",
  "",
  "Written by `deno task bench:all`; do not edit. A figure says how many times as fast as its peer the first contender is:",
  "the ratio of the medians of rounds in which all contenders take turns, with the least and the most of the rounds. Above 1",
  "ours is faster, below 1 the peer. Processor time is measured, except for Durable Objects, where it is elapsed time.",
  "In the process each turn of each contender begins with as many operations that are not measured: a garbage collection before",
  "it takes away compiled code, and what is compared is the code and not its compiler. A server has answered 20,000 requests of",
  'each kind before it is measured. "By hand" is the least code for the job that keeps none of the promises: what is left there',
  "is the cost of the runtime and of the framework.",
  "",
  `Rounds: ${Deno.env.get("ROUNDS") ?? 5}; keys in the memory store: ${
    (Deno.env.get("SIZES") ?? "1000,100000,1000000").replaceAll(",", ", ")
  }.`,
  `Run on ${new Date().toISOString().slice(0, 10)}, ${
    Deno.version.deno === "" ? "" : `Deno ${Deno.version.deno}, `
  }` +
  `${navigator.hardwareConcurrency} processors, load ${Deno.loadavg()[0]!.toFixed(1)} at the end` +
  `${Deno.loadavg()[0]! > navigator.hardwareConcurrency ? ": a busy machine, so the spread is wide" : ""}.`,
];
await Deno.mkdir(new URL("plots/", folder), { recursive: true });
for (const group of new Set(lines.map(({ group }) => group))) {
  const own = lines.filter((line) => line.group === group);
  const file = `plots/${group.toLowerCase().replace(/[^a-z]+/g, "_")}.svg`;
  const bars: Bar[] = own.map(({ name, where, ratio }) => {
    return {
      label: `${where}: ${name.length > 66 ? name.slice(0, 65) + "…" : name}`,
      value: ratio.median,
      ...ratio,
    };
  });
  await Deno.writeTextFile(new URL(file, folder), plot(group, bars));
  text.push("", `## ${group}`, "", `![${group}](${file})`, "");
  text.push(
    "| first ÷ second | runtime | ratio | spread | promise |",
    "| --- | --- | --: | --: | --- |",
    ...own.map(row),
  );
}
text.push(
  "",
  "## Plain figures",
  "",
  "Microseconds of the processor a call; those of Durable Objects are elapsed time.",
  "",
);
text.push("| what | runtime | median |", "| --- | --- | --: |");
const all = { ...samples, workerd: objects.samples, "deno, Deno KV": kv.samples };
for (const [where, own] of Object.entries(all)) {
  for (const [name, times] of Object.entries(own)) {
    const plain = /^(bytes|longest)/.test(name)
      ? median(times).toFixed(1)
      : (median(times) / 1000).toFixed(2) + " µs";
    text.push(`| ${name} | ${where} | ${plain} |`);
  }
}
await Deno.writeTextFile(new URL("results.md", folder), text.join("\n") + "\n");
Deno.exit(0); // the clients of the servers keep their sockets
