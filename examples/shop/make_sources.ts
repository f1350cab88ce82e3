/**
 * Writes `sources.ts`, the lines of `shop.ts` between `#region` and `#endregion` that the page shows: a Worker has no files to read.
 * `deno run -A examples/shop/make_sources.ts`; a test holds the one to the other.
 */

/** A part of the source, as the page shows it. */
export interface Source {
  readonly first: number;
  readonly last: number;
  readonly code: string;
}

/** The marked parts of a source text, by name, without the indentation that they share. */
export function sourcesOf(text: string): Record<string, Source> {
  const found: Record<string, Source> = {};
  const lines = text.split("\n");
  for (const [index, line] of lines.entries()) {
    const name = /^\s*\/\/ #region (\w+)$/.exec(line)?.[1];
    if (name === undefined) continue;
    const end = lines.findIndex((line, at) => at > index && /^\s*\/\/ #endregion$/.test(line));
    const code = lines.slice(index + 1, end).map((line) => line.replace(/^ {2}/, "")).join("\n");
    found[name] = { first: index + 2, last: end, code };
  }
  return found;
}

/** The text of `sources.ts`. */
export function sourcesModule(text: string): string {
  return `/** Made of shop.ts by make_sources.ts: do not change it by hand. */
export const SOURCES: Readonly<Record<string, { first: number; last: number; code: string }>> = ${
    JSON.stringify(sourcesOf(text), null, 2)
  };
`;
}

if (import.meta.main) {
  const here = (name: string) => new URL(name, import.meta.url);
  await Deno.writeTextFile(here("sources.ts"), sourcesModule(await Deno.readTextFile(here("shop.ts"))));
}
