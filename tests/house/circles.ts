// deno-lint-ignore-file no-console
/**
 * Reads the module graph of `deno info --json` and reports circles of imports, imports that run upwards
 * between the layers, and adapters that reach another adapter. Imports of types count: a reader follows them
 * all the same.
 *
 * The entry points of `src` (`src/mail/mod.ts` …) export from any layer of `src`, and no module imports them.
 *
 * `deno task circles` prints the findings and fails when there is one.
 */

/** The layers of `src`, lowest first. A folder may import its own layer's folder and the layers below. */
const LAYERS: readonly (readonly string[])[] = [
  ["src"], // single files: clock, codec, errors, retry, lease …
  ["src/store"],
  ["src/lock", "src/idempotency", "src/throttle", "src/session", "src/cache", "src/outbox"],
  ["src/replication", "src/mail"],
  ["src/http"],
  ["src/webhook"],
  ["adapters"],
  ["src/testing"],
];

/** Adapters that share code with another: the scripts of `./redis` are those of `./upstash`. */
const SHARED: readonly string[] = ["adapters/redis → adapters/upstash"];

/** Imports of each module: relative paths, as `deno info --json` tells them. */
export type ModuleGraph = ReadonlyMap<string, readonly string[]>;

interface Dependency {
  readonly code?: { readonly specifier?: string };
  readonly type?: { readonly specifier?: string };
}

interface Info {
  readonly modules: readonly { readonly specifier: string; readonly dependencies?: readonly Dependency[] }[];
}

/** The graph of our own modules below `root`, a `file:` URL that ends with a slash. */
export function moduleGraph(infos: readonly Info[], root: string): ModuleGraph {
  const graph = new Map<string, string[]>();
  for (const { specifier, dependencies = [] } of infos.flatMap((info) => info.modules)) {
    if (!specifier.startsWith(root)) continue;
    const imports = dependencies.flatMap(({ code, type }) => [code?.specifier, type?.specifier])
      .filter((target) => target?.startsWith(root) === true)
      .map((target) => target!.slice(root.length));
    graph.set(specifier.slice(root.length), [...new Set(imports)]);
  }
  return graph;
}

/** The circles: each a list of the modules that reach one another, by Tarjan's algorithm. */
export function circles(graph: ModuleGraph): string[][] {
  const order = new Map<string, number>();
  const low = new Map<string, number>();
  const stack: string[] = [];
  const found: string[][] = [];
  function visit(module: string): void {
    order.set(module, order.size);
    low.set(module, order.get(module)!);
    stack.push(module);
    for (const target of graph.get(module) ?? []) {
      if (!order.has(target)) {
        visit(target);
        low.set(module, Math.min(low.get(module)!, low.get(target)!));
      } else if (stack.includes(target)) {
        low.set(module, Math.min(low.get(module)!, order.get(target)!));
      }
    }
    if (low.get(module) !== order.get(module)) return;
    const circle = stack.splice(stack.indexOf(module));
    if (circle.length > 1 || graph.get(module)?.includes(module)) found.push(circle.sort());
  }
  for (const module of graph.keys()) if (!order.has(module)) visit(module);
  return found;
}

/** Imports from a lower layer to a higher one, between contracts of one layer, and between adapters. */
export function upwardImports(graph: ModuleGraph): string[] {
  const found: string[] = [];
  for (const [module, targets] of graph) {
    for (const target of targets) {
      if (isEntry(target)) {
        found.push(`${module} → ${target}`);
        continue;
      }
      if (isEntry(module) && target.startsWith("src/")) continue;
      const [from, to] = [folderOf(module), folderOf(target)];
      if (from === undefined || to === undefined || from === to) continue;
      if (SHARED.includes(`${from} → ${to}`)) continue;
      const adapters = from.startsWith("adapters/") && to.startsWith("adapters/");
      const [low, high] = [layerOf(from), layerOf(to)];
      if (adapters || high > low || (high === low && high > 0)) found.push(`${module} → ${target}`);
    }
  }
  return found.sort();
}

/** The modules behind subpaths of `src`: they export from several folders. */
function isEntry(module: string): boolean {
  return module === "mod.ts" || /^src\/\w+\/mod\.ts$/.test(module);
}

/** `src`, `src/lock`, `adapters/upstash`; `undefined` for what is in neither. */
function folderOf(module: string): string | undefined {
  const [top, folder, ...rest] = module.split("/");
  if (top !== "src" && top !== "adapters") return undefined;
  return rest.length === 0 ? top : `${top}/${folder}`;
}

function layerOf(folder: string): number {
  const name = folder.startsWith("adapters/") ? "adapters" : folder;
  const layer = LAYERS.findIndex((folders) => folders.includes(name));
  if (layer < 0) throw new Error(`Cannot place ${folder}: name it in LAYERS of tests/house/circles.ts`);
  return layer;
}

/** Every entry point that `deno.json` exports. */
export async function readGraph(): Promise<ModuleGraph> {
  const root = new URL("../../", import.meta.url);
  const { exports } = JSON.parse(await Deno.readTextFile(new URL("deno.json", root)));
  const infos: Info[] = [];
  for (const entry of Object.values<string>(exports)) {
    const { stdout, success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["info", "--json", entry],
      cwd: root,
    }).output();
    if (!success) throw new Error(new TextDecoder().decode(stderr));
    infos.push(JSON.parse(new TextDecoder().decode(stdout)));
  }
  return moduleGraph(infos, root.href);
}

if (import.meta.main) {
  const graph = await readGraph();
  const [round, upward] = [circles(graph), upwardImports(graph)];
  for (const circle of round) console.log(`circle: ${circle.join(", ")}`);
  for (const line of upward) console.log(`upward: ${line}`);
  console.log(`${graph.size} modules, ${round.length} circles, ${upward.length} upward imports`);
  if (round.length + upward.length > 0) Deno.exit(1);
}
