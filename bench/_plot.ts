/** Bars as an SVG: plain text, readable on a light and on a dark page. */

/** A bar, and the spread of its rounds. */
export interface Bar {
  readonly label: string;
  readonly value: number;
  readonly least: number;
  readonly most: number;
}

const [WIDTH, LABELS, ROW] = [900, 470, 26];

/** The bars of one table, on one scale that ends at the longest, and a line at 1. */
export function plot(title: string, bars: readonly Bar[]): string {
  const most = Math.max(1, ...bars.map(({ value }) => value));
  const room = WIDTH - LABELS - 90;
  const at = (value: number) => (LABELS + Math.min(value, most) / most * room).toFixed(1);
  const rows = bars.map(({ label, value, least, most }, i) => {
    const y = 44 + i * ROW;
    const length = (Number(at(value)) - LABELS).toFixed(1);
    return `  <text x="${LABELS - 8}" y="${y + 12}" text-anchor="end">${escaped(label)}</text>
  <rect x="${LABELS}" y="${y}" width="${length}" height="16" fill="#4c8bf5"/>
  <line x1="${at(least)}" x2="${at(most)}" y1="${y + 8}" y2="${y + 8}" stroke="#d9534f" stroke-width="2"/>
  <text x="${Number(at(Math.max(value, most))) + 6}" y="${y + 12}">${value.toFixed(2)}</text>`;
  });
  const height = 56 + bars.length * ROW;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="12" fill="#888">
  <text x="8" y="22" font-size="15">${escaped(title)}</text>
${rows.join("\n")}
  <line x1="${at(1)}" x2="${at(1)}" y1="36" y2="${height - 8}" stroke="#888" stroke-dasharray="4 3"/>
</svg>
`;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
