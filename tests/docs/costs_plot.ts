/** Draws the table of costs in `docs/engines/README.md`: `deno run -A tests/docs/costs_plot.ts` writes `docs/engines/costs.svg`. */

const root = new URL("../../", import.meta.url);

/** The table whose first column is "what": a row's cells by the names of the columns. */
export function costsTable(page: string): Record<string, Record<string, string>> {
  const lines = page.split("\n");
  const cells = (line: string) => line.split("|").slice(1, -1).map((cell) => cell.trim());
  const head = lines.findIndex((line) => line.startsWith("| what "));
  const [, ...engines] = cells(lines[head]!);
  const rows: Record<string, Record<string, string>> = {};
  for (const line of lines.slice(head + 2)) {
    if (!line.startsWith("|")) break;
    const [what = "", ...values] = cells(line);
    rows[what] = Object.fromEntries(engines.map((engine, i) => [engine, values[i]!]));
  }
  return rows;
}

const STYLE =
  `text{font:13px system-ui,sans-serif;fill:#10202b}.n{font-size:12px}.u{fill:#0b6468}.d{fill:#c2562d}.p{fill:#5b6cb8}
@media (prefers-color-scheme:dark){text{fill:#e8edef}.u{fill:#5ccfcc}.d{fill:#ff9d80}.p{fill:#a3b0f0}}`;

/** A group of bars a row, a bar an engine. */
export function costsPlot(table: Record<string, Record<string, string>>): string {
  const rows = Object.entries(table);
  const engines = Object.keys(rows[0]![1]);
  const kinds = ["u", "d", "p"];
  const [left, unit, height] = [265, 70, 50];
  const bars = rows.map(([what, costs], row) => {
    const y = 44 + row * height;
    const label = `<text x="${left - 10}" y="${y + 21}" text-anchor="end">${what.replaceAll("`", "")}</text>`;
    return label + engines.map((engine, i) => {
      const [value, at] = [Number(costs[engine]), y + i * 13];
      return `<rect class="${kinds[i]}" x="${left}" y="${at}" width="${value * unit}" height="10" rx="2"/>` +
        `<text class="n" x="${left + value * unit + 6}" y="${at + 9}">${value}</text>`;
    }).join("");
  });
  const legend = engines.map((engine, i) =>
    `<rect class="${kinds[i]}" x="${left + i * 110}" y="12" width="12" height="12" rx="2"/>` +
    `<text x="${left + i * 110 + 18}" y="23">${engine}</text>`
  );
  const size = `viewBox="0 0 620 ${50 + rows.length * height}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img" aria-label="Requests of each call, by engine">
<style>${STYLE}</style>
${[...legend, ...bars].join("\n")}
</svg>
`;
}

if (import.meta.main) {
  const page = await Deno.readTextFile(new URL("docs/engines/README.md", root));
  await Deno.writeTextFile(new URL("docs/engines/costs.svg", root), costsPlot(costsTable(page)));
}
