/**
 * The laws that were kept on each engine, in one table. A test file calls `lawKept` after every law that
 * held; when the file is done its counts are in `.cache/laws/`, a file for each engine and test file. `deno run -R
 * tests/support/law_table.ts` prints them all.
 */
const folder = new URL("../../.cache/laws/", import.meta.url);

/** Contract → how many of its laws were kept. */
type Counts = Record<string, number>;
const kept = new Map<string, Counts>();

/** Notes that a law of the contract held on the engine. */
export function lawKept(engine: string, contract: string): void {
  if (kept.size === 0) globalThis.addEventListener("unload", write, { once: true });
  const counts = kept.get(engine) ?? {};
  kept.set(engine, counts);
  counts[contract] = (counts[contract] ?? 0) + 1;
}

function write(): void {
  Deno.mkdirSync(folder, { recursive: true });
  for (const [engine, counts] of kept) {
    // A name of its own: several test files, in two processes, run laws on one engine.
    const file = `${crypto.randomUUID()}.json`;
    Deno.writeTextFileSync(new URL(file, folder), JSON.stringify({ engine, counts }));
  }
}

/** The results of the runs so far: engine → contract → laws kept. */
export function keptLaws(): Record<string, Counts> {
  const table: Record<string, Counts> = {};
  for (const { name } of Deno.readDirSync(folder)) {
    const { engine, counts } = JSON.parse(Deno.readTextFileSync(new URL(name, folder)));
    table[engine] = { ...table[engine], ...counts };
  }
  return table;
}

/** The table as Markdown, the engines in its rows. */
export function lawTable(table: Record<string, Counts> = keptLaws()): string {
  const contracts = [...new Set(Object.values(table).flatMap((counts) => Object.keys(counts)))];
  const rows = Object.entries(table).sort(([a], [b]) => a < b ? -1 : 1)
    .map(([engine, counts]) => [engine, ...contracts.map((contract) => String(counts[contract] ?? "–"))]);
  const all = [["engine", ...contracts], ["---", ...contracts.map(() => "--:")], ...rows];
  return all.map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

// deno-lint-ignore no-console
if (import.meta.main) console.log(lawTable());
