/**
 * Runs the simulation of a hot key on the measured input, and writes its plot and its tables into `docs/engines/hot-keys.md`:
 * `deno run -A tests/docs/hot_key/plot.ts`. A test does the same and compares.
 */
import { filled } from "../costs/tables.ts";
import measured from "./measured.json" with { type: "json" };
import { type Contract, type EngineModel, hotKey, type HotKeyResult } from "./simulation.ts";

const root = new URL("../../../", import.meta.url);
const SERVICE: Readonly<Record<string, number>> = measured.milliseconds;

/** The clients, each of which sends its next call when the last is done, and their network. */
const CLIENTS = 32;
const TRIP = 5;

/** The numbers of keys over which the load is spread. */
const KEYS = [1, 2, 4, 8, 16];

/** The calls of a run; a lock's take longer. */
const CALLS: Readonly<Record<Contract, number>> = {
  "counter": 600,
  "throttle": 600,
  "lock": 160,
  "fair lock": 160,
};

const ENGINES: Readonly<Record<string, Omit<EngineModel, "service">>> = {
  "Upstash, Redis": { oneServer: true, compareAndSet: false, notifies: "never" },
  "Durable Objects": { oneServer: false, compareAndSet: false, notifies: "of the field" },
  "Deno KV": { oneServer: false, compareAndSet: true, notifies: "of any change" },
};

/** A result for each contract, engine and number of keys. */
type Results = Record<Contract, Record<string, HotKeyResult[]>>;

async function results(): Promise<Results> {
  const all: Partial<Results> = {};
  for (const contract of Object.keys(CALLS) as Contract[]) {
    const engines: Record<string, HotKeyResult[]> = {};
    for (const [engine, behaviour] of Object.entries(ENGINES)) {
      const model = { ...behaviour, service: SERVICE[engine]! };
      engines[engine] = [];
      for (const keys of KEYS) {
        const calls = CALLS[contract];
        engines[engine]!.push(await hotKey({ model, contract, keys, clients: CLIENTS, trip: TRIP, calls }));
      }
    }
    all[contract] = engines;
  }
  return all as Results;
}

const STYLE =
  `text{font:12px system-ui,sans-serif;fill:#10202b}.t{font-size:13px;font-weight:600}.g{stroke:#10202b;stroke-opacity:.15}
path{fill:none;stroke-width:2}.a{stroke:#0b6468;fill:#0b6468}.b{stroke:#c2562d;fill:#c2562d}.c{stroke:#5b6cb8;fill:#5b6cb8}path.a,path.b,path.c{fill:none}
@media (prefers-color-scheme:dark){text{fill:#e8edef}.g{stroke:#e8edef}.a{stroke:#5ccfcc;fill:#5ccfcc}.b{stroke:#ff9d80;fill:#ff9d80}.c{stroke:#a3b0f0;fill:#a3b0f0}}`;

const [WIDTH, PANEL, GAP, LEFT, HEIGHT] = [900, 180, 28, 62, 170];

/** A panel of lines on two logarithmic axes. */
function panel(
  [x, y]: readonly [number, number],
  title: string,
  [least, most]: readonly [number, number],
  lines: readonly (readonly number[])[],
  labels: boolean,
): string {
  const across = (i: number) => (x + i * PANEL / (KEYS.length - 1)).toFixed(1);
  const up = (value: number) => {
    const part = Math.log(Math.max(least, Math.min(most, value)) / least) / Math.log(most / least);
    return (y + HEIGHT - part * HEIGHT).toFixed(1);
  };
  const grid: string[] = [];
  for (let value = least; value <= most; value *= 10) {
    grid.push(`<line class="g" x1="${x}" x2="${x + PANEL}" y1="${up(value)}" y2="${up(value)}"/>`);
    if (labels) {
      grid.push(
        `<text x="${x - 8}" y="${Number(up(value)) + 4}" text-anchor="end">${
          value.toLocaleString("en-US")
        }</text>`,
      );
    }
  }
  const ticks = KEYS.map((keys, i) =>
    `<text x="${across(i)}" y="${y + HEIGHT + 16}" text-anchor="middle">${keys}</text>`
  );
  const drawn = lines.map((values, line) => {
    const kind = "abc"[line];
    const points = values.map((value, i) => `${across(i)} ${up(value)}`);
    const dots = points.map((point) => {
      const [cx, cy] = point.split(" ");
      return `<circle class="${kind}" cx="${cx}" cy="${cy}" r="3"/>`;
    });
    return `<path class="${kind}" d="M${points.join(" L")}"/>${dots.join("")}`;
  });
  const heading = `<text class="t" x="${x}" y="${y - 10}">${title}</text>`;
  return [heading, ...grid, ...ticks, ...drawn].join("\n");
}

function plot(all: Results): string {
  const contracts = Object.keys(all) as Contract[];
  const engines = Object.keys(ENGINES);
  const at = (i: number) => LEFT + i * (PANEL + GAP);
  const panels = contracts.flatMap((contract, i) => {
    const of = (value: (result: HotKeyResult) => number) =>
      engines.map((engine) => all[contract][engine]!.map(value));
    return [
      panel(
        [at(i), 76],
        `${contract}: calls a second`,
        [1, 10_000],
        of(({ perSecond }) => perSecond),
        i === 0,
      ),
      panel([at(i), 316], `${contract}: p95 in ms`, [1, 100_000], of(({ p95 }) => p95), i === 0),
    ];
  });
  const legend = engines.map((engine, i) =>
    `<rect class="${"abc"[i]}" x="${LEFT + i * 170}" y="14" width="12" height="12" rx="2"/>` +
    `<text x="${LEFT + i * 170 + 18}" y="25">${engine}</text>`
  );
  const what = "Calls a second and their 95th percentile in milliseconds, by the number of keys";
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} 540" role="img" aria-label="${what}">
<style>${STYLE}</style>
${[...legend, ...panels].join("\n")}
<text x="${LEFT}" y="528">Below each panel: the number of keys over which the same load is spread. Both axes are logarithmic.</text>
</svg>
`;
}

/** The input beside the plot, and its first column in figures. */
function tables(all: Results): string {
  const engines = Object.keys(ENGINES);
  const line = (cells: readonly (string | number)[]) => `| ${cells.join(" | ")} |`;
  const how = ({ oneServer, compareAndSet, notifies }: Omit<EngineModel, "service">) =>
    [
      oneServer ? "one server for all keys" : "a queue a key",
      compareAndSet ? "a reading and a conditional write, again while others win" : "one call",
      notifies === "never" ? "waiters ask again after a delay" : `waiters are notified ${notifies}`,
    ].join("; ");
  const input = [
    line(["engine", "ms of the server a call", "how it serves"]),
    line(["---", "--:", "---"]),
    ...engines.map((engine) => line([engine, SERVICE[engine]!, how(ENGINES[engine]!)])),
  ];
  const shown = ({ perSecond, p95 }: HotKeyResult) => `${perSecond.toFixed(0)} / ${p95.toFixed(0)} ms`;
  const output = [
    line(["calls a second / p95, on one key", ...engines]),
    line(["---", ...engines.map(() => "--:")]),
    ...Object.entries(all).map(([contract, of]) =>
      line([contract, ...engines.map((engine) => shown(of[engine]![0]!))])
    ),
  ];
  return `${
    output.join("\n")
  }\n\nThe input: ${CLIENTS} clients, each in an isolate of its own, which send the next call ` +
    `when the last is done; ${TRIP} ms of network there and back; and the time that a server is busy with a call, ` +
    `measured on ${measured.on} (${measured.machine}, with other work on the machine).\n\n${
      input.join("\n")
    }`;
}

/** The plot and the page, as they must be. */
export async function generated(): Promise<Record<string, string>> {
  const all = await results();
  const path = "docs/engines/hot-keys.md";
  const page = await Deno.readTextFile(new URL(path, root));
  const marks = [
    "<!-- figures: written by tests/docs/hot_key/plot.ts -->",
    "<!-- end of figures -->",
  ] as const;
  return { "docs/engines/hot-keys.svg": plot(all), [path]: await filled(page, tables(all), marks) };
}

if (import.meta.main) {
  for (const [path, text] of Object.entries(await generated())) {
    await Deno.writeTextFile(new URL(path, root), text);
  }
}
