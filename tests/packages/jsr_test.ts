/**
 * JSR's score of the package. Its rules and points are those of JSR's own source, read on 2026-11-29 from
 * https://github.com/jsr-io/jsr: the points in `ApiPackageScore` of `api/src/api/types.rs`, what each rule
 * looks at in `generate_score` of `api/src/analysis.rs`, the texts in `frontend/routes/package/score.tsx`.
 *
 * The rules give 18 points in all. JSR divides by 17 (`MAX_SCORE`) and cuts the percentage at 100, so that 17
 * points are full marks: a package that misses a single rule of one point still has 100 %.
 */
import { assert, assertEquals } from "../support/assert.ts";

const root = new URL("../../", import.meta.url);
const read = (path: string) => Deno.readTextFile(new URL(path, root));
const config = JSON.parse(await read("deno.json"));

/** JSR's `MAX_SCORE`. */
const FULL_MARKS = 17;

interface Rule {
  readonly points: number;
  /** Where the rule is fulfilled: by the published files, by the workflow, or by hand in JSR's settings. */
  readonly by: "files" | "workflow" | "settings";
}

/** The rules, named as on a package's page. */
const RULES = {
  "Has a readme or module doc": { points: 2, by: "files" },
  "Has examples in the readme or module doc": { points: 1, by: "files" },
  "Has module docs in all entrypoints": { points: 1, by: "files" },
  "Has docs for most symbols": { points: 5, by: "files" },
  "No slow types are used": { points: 5, by: "files" },
  "Has provenance": { points: 1, by: "workflow" },
  "Has a description": { points: 1, by: "settings" },
  "At least one runtime is marked as compatible": { points: 1, by: "settings" },
  "At least two runtimes are marked as compatible": { points: 1, by: "settings" },
} as const satisfies Readonly<Record<string, Rule>>;

type RuleName = keyof typeof RULES;

/** A test of one rule; the points stand in its name. */
function rule(name: RuleName, check: () => Promise<void>): void {
  tested.add(name);
  const { points } = RULES[name];
  Deno.test(`JSR, ${points} point${points === 1 ? "" : "s"}: ${name}`, check);
}
const tested = new Set<RuleName>();

rule("Has a readme or module doc", async () => {
  assert(config.publish.include.includes("README.md"), "deno.json must publish README.md");
  assert((await read("README.md")).trim() !== "");
});

rule("Has examples in the readme or module doc", async () => {
  // JSR looks for three backticks, anywhere.
  assert(/^```ts$/m.test(await read("README.md")));
});

rule("Has module docs in all entrypoints", async () => {
  const entries = Object.entries<string>(config.exports);
  assert(entries.length > 1);
  for (const [subpath, file] of entries) {
    assert((await read(file)).includes("\n * @module"), `${subpath} has no module's documentation`);
  }
});

rule("Has docs for most symbols", async () => {
  const { count, undocumented } = await documentation();
  assert(count > 300, `${count} symbols`);
  // 80 % give all points; the house documents every symbol.
  assertEquals(undocumented, []);
});

rule("No slow types are used", async () => {
  // A slow type is an error of `deno publish`, unless an option allows it.
  const { code, output } = await deno(root, "publish", "--dry-run", "--allow-dirty", "--no-check");
  assertEquals(code, 0, output);
  for (const file of ["README.md", "LICENSE", "CHANGELOG.md", "deno.json", "mod.ts"]) {
    assert(output.includes(`/${file} (`), `${file} must be published: ${output}`);
  }
  for (const path of ["deno.json", ".ci/run", ".github/workflows/publish.yml"]) {
    assert(!(await read(path)).includes("allow-slow-types"), path);
  }
});

Deno.test("JSR: a slow type is an error of `deno publish`", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const settings = { name: "@holdfast/slow", version: "0.1.0", license: "MIT", exports: "./mod.ts" };
    await Deno.writeTextFile(`${folder}/deno.json`, JSON.stringify(settings));
    await Deno.writeTextFile(`${folder}/mod.ts`, "export const time = Date.now() + 1;\n");
    const { code, output } = await deno(folder, "publish", "--dry-run", "--no-check");
    assert(code !== 0 && /slow|explicit type/.test(output), output);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

rule("Has provenance", async () => {
  const workflow = await read(".github/workflows/publish.yml");
  // JSR makes the provenance of a token of the workflow's own; npm needs the option, too.
  assert(/^ {6}id-token: write/m.test(workflow) && /deno@\S+ publish$/m.test(workflow));
  assert(/npm publish \S+ --provenance/.test(workflow));
});

Deno.test("JSR: the rules of files and workflow are tested, and add up with the settings to full marks", async () => {
  const rules = Object.entries<Rule>(RULES);
  const points = (some: typeof rules) => some.reduce((sum, [, { points }]) => sum + points, 0);
  assertEquals(tested, new Set(rules.filter(([, { by }]) => by !== "settings").map(([name]) => name)));
  assertEquals(points(rules), FULL_MARKS + 1);
  assertEquals(points(rules.filter(([, { by }]) => by === "settings")), 3);
  // CONTRIBUTING.md has the same list, for the release.
  const listed = [...(await read("CONTRIBUTING.md")).matchAll(/^\| (\d) +\| ([^|]+?) +\| (\w+) +\|/gm)]
    .map(([, points, name, by]) => [name, { points: Number(points), by }]);
  assertEquals(listed, rules);
});

Deno.test("JSR's rules for packages: a licence, and a name that it accepts", () => {
  assertEquals(config.license, "MIT");
  assert(/^@[a-z0-9-]{2,20}\/[a-z0-9-]{2,20}$/.test(config.name));
});

Deno.test("every action of the workflows is pinned to a commit, and no workflow may do more than it says", async () => {
  for (const name of ["ci", "publish"]) {
    const workflow = await read(`.github/workflows/${name}.yml`);
    const actions = [...workflow.matchAll(/uses: (\S+)/g)];
    assert(actions.length > 0);
    for (const [, action] of actions) assert(/@[0-9a-f]{40}$/.test(action!), action);
    assert(/^permissions: \{\}$/m.test(workflow));
  }
});

interface DocSymbol {
  readonly name: string;
  readonly declarations: readonly {
    readonly kind: string;
    readonly declarationKind: string;
    readonly jsDoc?: { readonly doc?: string };
  }[];
}

/** The exported symbols of all entrypoints as JSR counts them, and those without documentation. */
async function documentation(): Promise<{ count: number; undocumented: string[] }> {
  const { code, stdout } = await deno(root, "doc", "--json", ...Object.values<string>(config.exports));
  assertEquals(code, 0);
  const { nodes } = JSON.parse(stdout);
  let count = 0;
  const undocumented: string[] = [];
  for (const { symbols } of Object.values<{ symbols: DocSymbol[] }>(nodes)) {
    for (const { name, declarations } of symbols) {
      const counted = declarations.filter(({ kind, declarationKind }) =>
        kind !== "reference" && declarationKind !== "private"
      );
      if (counted.length === 0) continue;
      count++;
      if (!counted.some(({ jsDoc }) => jsDoc?.doc)) undocumented.push(name);
    }
  }
  return { count, undocumented };
}

async function deno(
  cwd: URL | string,
  ...args: string[]
): Promise<{ code: number; stdout: string; output: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd,
    env: { NO_COLOR: "1" },
  }).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { code, stdout: out!, output: `${out}${err}` };
}
