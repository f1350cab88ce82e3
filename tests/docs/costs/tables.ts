/**
 * Writes what calls cost into the pages of `docs/engines`, from the counts (`counts.json`, which `count.ts` writes and a test counts
 * again) and the prices (`prices.ts`): `deno run -A tests/docs/costs/tables.ts`.
 */
import counts from "./counts.json" with { type: "json" };
import { costsPlot } from "./plot.ts";
import { PRICES, READ_ON, type Unit } from "./prices.ts";
import type { Counts } from "./work.ts";

const root = new URL("../../../", import.meta.url);
const COUNTS: Readonly<Record<string, Counts>> = counts;

/** The engines whose requests stand in the overview. Of Deno KV each read and each commit is a request. */
const REQUESTS = ["Upstash", "Durable Objects", "Deno KV", "Postgres", "D1"];

/** The page of each engine. */
const PAGES: Readonly<Record<string, string>> = {
  "Upstash": "upstash",
  "Durable Objects": "durable-objects",
  "Deno KV": "deno-kv",
  "Postgres": "postgres",
  "D1": "sqlite",
  "Workers KV": "workers-kv",
};

/** The requests of a call: each unit that is a round trip. */
function requests(engine: string, what: string): number {
  const { requests, statements, reads, writes } = COUNTS[engine]![what]!;
  return requests ?? statements ?? reads! + writes!;
}

/** Dollars of a million calls; `undefined` where no price is known. */
export function dollars(engine: string, what: string): number | undefined {
  const units = COUNTS[engine]?.[what];
  const prices = PRICES[engine]?.million;
  if (units === undefined || prices === undefined) return undefined;
  return Object.entries(units).reduce((sum, [unit, n]) => sum + n * (prices[unit as Unit] ?? 0), 0);
}

function shown(price: number | undefined): string {
  if (price === undefined) return "–";
  return price >= 0.1 ? price.toFixed(2) : price.toFixed(3);
}

function table(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const marks = columns.map((_, i) => i === 0 ? "---" : "--:");
  return [line(columns), line(marks), ...rows.map(line)].join("\n");
}

/** The calls of an engine, their units, and their price where the vendor's price is known. */
function engineTable(engine: string): string {
  const calls = Object.entries(COUNTS[engine]!);
  const units = Object.keys(calls[0]![1]);
  const prices = PRICES[engine];
  const rows = calls.map(([what, costs]) => [
    what,
    ...units.map((unit) => String(costs[unit])),
    ...(prices ? [shown(dollars(engine, what))] : []),
  ]);
  const counted = table(["a call", ...units, ...(prices ? ["$ per million calls"] : [])], rows);
  if (prices === undefined) return counted;
  const each = Object.entries(prices.million).map(([unit, price]) => `$${price} per million ${unit}`);
  return `${counted}\n\nAt the prices of [${prices.plan}](${prices.page}) beyond what the plan includes, read on ` +
    `${READ_ON}: ${each.join(", ")}.`;
}

/** The overview's two tables: round trips, and dollars. */
function overview(): string {
  const calls = Object.keys(COUNTS["Upstash"]!);
  const trips = calls.map((what) => [what, ...REQUESTS.map((engine) => String(requests(engine, what)))]);
  const priced = Object.keys(PRICES);
  const money = calls.map((what) => [what, ...priced.map((engine) => shown(dollars(engine, what)))]);
  const pages = priced.map((engine) => `[${engine}](${PRICES[engine]!.page}) (${PRICES[engine]!.plan})`);
  return `${
    table(["requests of", ...REQUESTS], trips)
  }\n\n![Requests of each call, by engine](./costs.svg)\n\n` +
    `${table(["$ per million of", ...priced], money)}\n\n` +
    `At the prices beyond what the plans include, read on ${READ_ON}: ${pages.join(", ")}.`;
}

const MARKS = ["<!-- costs: written by tests/docs/costs/tables.ts -->", "<!-- end of costs -->"] as const;

/** The page with the part between the two marks replaced, formatted. */
export async function filled(
  page: string,
  part: string,
  [begin, end]: readonly [string, string] = MARKS,
): Promise<string> {
  const [before, after] = [page.indexOf(begin), page.indexOf(end)];
  if (before < 0 || after < before) throw new Error(`the page has no ${begin}`);
  const text = `${page.slice(0, before)}${begin}\n\n${part}\n\n${page.slice(after)}`;
  const formatter = new Deno.Command(Deno.execPath(), {
    args: ["fmt", "--quiet", "--ext=md", "-"],
    cwd: root,
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const writer = formatter.stdin.getWriter();
  await writer.write(new TextEncoder().encode(text));
  await writer.close();
  return new TextDecoder().decode((await formatter.output()).stdout);
}

/** Every generated file, by its path, as it must be. */
export async function generated(): Promise<Record<string, string>> {
  const read = (path: string) => Deno.readTextFile(new URL(path, root));
  const files: Record<string, string> = {
    "docs/engines/README.md": await filled(await read("docs/engines/README.md"), overview()),
    "docs/engines/costs.svg": costsPlot(
      Object.keys(COUNTS["Upstash"]!).map((what) =>
        [what, Object.fromEntries(REQUESTS.map((engine) => [engine, requests(engine, what)]))] as const
      ),
    ),
  };
  for (const [engine, name] of Object.entries(PAGES)) {
    const path = `docs/engines/${name}.md`;
    files[path] = await filled(await read(path), engineTable(engine));
  }
  return files;
}

if (import.meta.main) {
  for (const [path, text] of Object.entries(await generated())) {
    await Deno.writeTextFile(new URL(path, root), text);
  }
}
