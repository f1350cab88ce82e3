/**
 * Durable Objects beside one that is written by hand for the task, in the same workerd: `deno task bench:objects`. Rounds take
 * turns, one call after the other; the ratio of the medians is printed with the spread. Disk writes of a real data centre would
 * make every ratio nearer to one. The ratio of workerd's processor time, which no disk and no other program moves, is printed
 * beside it where Linux tells it.
 */
// deno-lint-ignore-file no-console
import { startWorkerd } from "../tests/support/workerd.ts";
import { median as middle, type Ratio, ratioOf, type Samples } from "./_rounds.ts";

/** The bounds that the project promises itself, by the name of the call. */
const TARGETS: Readonly<Record<string, number>> = {
  "increment": 0.9,
  "lock and release": 0.9,
  "throttle check": 0.85,
  "session load": 0.7,
};

/** A call beside the same by hand. */
export interface ObjectFigure {
  readonly name: string;
  readonly ratio: Ratio;
  /** The same of workerd's processor time; `undefined` where the system does not tell it. */
  readonly processor: Ratio | undefined;
  readonly target: number;
}

// Many short rounds: a slow disk, or other work of the machine, then meets both of a pair alike, or few rounds of one.
const ROUNDS = Number(Deno.env.get("ROUNDS") ?? 61);
const COUNT = Number(Deno.env.get("COUNT") ?? 60);

/** Measures every call in turns. */
export async function measureObjects(): Promise<{ samples: Samples; figures: ObjectFigure[] }> {
  await using worker = await startWorkerd({
    entry: new URL("_objects_worker.ts", import.meta.url),
    durableObjects: { HOLDFAST: "HoldfastObject", FLOOR: "FloorObject" },
  });
  const names: string[] = await (await worker.fetch("/")).json();
  const samples: Samples = {};
  const processor: Samples = {};
  const workerd = children("workerd");
  for (let round = -2; round < ROUNDS; round++) {
    for (const name of names) {
      const [began, ran] = [performance.now(), processorTime(workerd)];
      const response = await worker.fetch(`/?call=${encodeURIComponent(name)}&count=${COUNT}`);
      if (await response.text() !== "done") throw new Error(`${name} failed`);
      if (round < 0) continue;
      (samples[name] ??= []).push((performance.now() - began) * 1e6 / COUNT);
      (processor[name] ??= []).push((processorTime(workerd) - ran) / COUNT);
    }
  }
  const figures = Object.entries(TARGETS).map(([name, target]) => {
    const ratio = (of: Samples) => ratioOf(of[`${name}: holdfast`]!, of[`${name}: by hand`]!);
    return {
      name,
      target,
      ratio: ratio(samples),
      processor: workerd.length > 0 ? ratio(processor) : undefined,
    };
  });
  return { samples, figures };
}

/** The children of this process that run a program, as Linux lists them. */
function children(program: string): string[] {
  if (Deno.build.os !== "linux") return [];
  return Array.from(Deno.readDirSync("/proc"), ({ name }) => name).filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      // `pid (program) state parent …`
      const [, found, parent] = /\((.*)\) \S (\d+)/.exec(Deno.readTextFileSync(`/proc/${name}/stat`)) ?? [];
      return found === program && parent === String(Deno.pid);
    } catch {
      return false; // it has ended
    }
  });
}

/** The nanoseconds that all threads of these processes have run. */
function processorTime(processes: readonly string[]): number {
  let time = 0;
  for (const id of processes) {
    for (const { name } of Deno.readDirSync(`/proc/${id}/task`)) {
      try {
        time += Number(Deno.readTextFileSync(`/proc/${id}/task/${name}/schedstat`).split(" ")[0]);
      } catch {
        // the thread has ended
      }
    }
  }
  return time;
}

if (import.meta.main) {
  const { samples, figures } = await measureObjects();
  for (const { name, ratio, processor, target } of figures) {
    const { median, least, most } = ratio;
    const micros = (whose: string) => (middle(samples[`${name}: ${whose}`]!) / 1000).toFixed(0);
    console.log(
      `${name.padEnd(20)} ${median.toFixed(2)} (processor ${processor?.median.toFixed(2) ?? "unknown"}; ${
        least.toFixed(2)
      } to ${most.toFixed(2)}) target ${target} ` +
        `· about ${micros("holdfast")} µs and ${micros("by hand")} µs`,
    );
  }
  Deno.exit(0);
}
