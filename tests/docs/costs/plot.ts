/** Draws the table of requests in `docs/engines/README.md` as an SVG. */

const STYLE =
  `text{font:13px system-ui,sans-serif;fill:#10202b}.n{font-size:11px}.a{fill:#0b6468}.b{fill:#c2562d}.c{fill:#5b6cb8}.d{fill:#8a6d1f}.e{fill:#7a3f78}
@media (prefers-color-scheme:dark){text{fill:#e8edef}.a{fill:#5ccfcc}.b{fill:#ff9d80}.c{fill:#a3b0f0}.d{fill:#e0c26a}.e{fill:#dd9fdb}}`;

/** A group of bars a row, a bar an engine. */
export function costsPlot(rows: readonly (readonly [string, Readonly<Record<string, number>>])[]): string {
  const engines = Object.keys(rows[0]![1]);
  const kinds = ["a", "b", "c", "d", "e"];
  const [left, unit, step] = [265, 70, 12];
  const height = engines.length * step + 12;
  const bars = rows.map(([what, costs], row) => {
    const y = 44 + row * height;
    const middle = y + engines.length * step / 2 + 3;
    const label = `<text x="${left - 10}" y="${middle}" text-anchor="end">${what.replaceAll("`", "")}</text>`;
    return label + engines.map((engine, i) => {
      const [value, at] = [costs[engine]!, y + i * step];
      return `<rect class="${kinds[i]}" x="${left}" y="${at}" width="${value * unit}" height="9" rx="2"/>` +
        `<text class="n" x="${left + value * unit + 6}" y="${at + 8}">${value}</text>`;
    }).join("");
  });
  const legend = engines.map((engine, i) => {
    const x = 20 + i * 130;
    return `<rect class="${kinds[i]}" x="${x}" y="12" width="12" height="12" rx="2"/>` +
      `<text x="${x + 18}" y="23">${engine}</text>`;
  });
  const size = `viewBox="0 0 640 ${50 + rows.length * height}"`;
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img" aria-label="Requests of each call, by engine">
<style>${STYLE}</style>
${[...legend, ...bars].join("\n")}
</svg>
`;
}
