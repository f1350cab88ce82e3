/** The npm package as a user gets it: packed, served by a registry, installed into projects made from nothing. */
import { assert, assertEquals } from "../support/assert.ts";
import { buildNpm, type NpmPackage, ownPath, run } from "./build_npm.ts";
import { freshProject, strictConfig } from "./fresh_project.ts";
import { startRegistry } from "./npm_registry.ts";
import { testTemplates } from "./templates.ts";

const root = new URL("../../", import.meta.url);
let built: NpmPackage;

Deno.test.beforeAll(async () => {
  built = await buildNpm(await Deno.makeTempDir({ prefix: "build-npm-" }));
});
Deno.test.afterAll(() =>
  Deno.remove(built.folder.slice(0, built.folder.lastIndexOf("/")), { recursive: true })
);

Deno.test("the tarball holds JavaScript and declarations, and every export of deno.json", async () => {
  const listed = (await run("tar", ["tzf", built.tarball], root)).trim().split("\n");
  const files = new Set(listed.map((path) => path.replace(/^package\//, "./")));
  const strange = [...files].filter((path) =>
    !/\.js$|\.d\.ts$|\/(package\.json|LICENSE|\w+\.md)$/.test(path)
  );
  assertEquals(strange, []);
  const { exports } = JSON.parse(await Deno.readTextFile(new URL("deno.json", root)));
  for (const subpath of Object.keys(exports)) {
    if (subpath === "./upstash/compile") continue; // a command of Deno's, on JSR alone
    const entry = built.manifest.exports[subpath];
    assert(typeof entry === "object", subpath);
    assert(files.has(entry.types) && files.has(entry.default), `${subpath} has no file`);
  }
});

Deno.test("no module names a .ts file or Node, and none is missing", async () => {
  const modules = (await run("tar", ["tzf", built.tarball], root)).trim().split("\n")
    .filter((path) => /\.js$|\.d\.ts$/.test(path)).map((path) => path.replace(/^package\//, ""));
  for (const module of modules) {
    const text = await Deno.readTextFile(`${built.folder}/${module}`);
    for (const [, specifier] of text.matchAll(/^(?:import|export)\b.*\bfrom "([^"]+)";$/gm)) {
      if (!specifier!.startsWith(".")) {
        assert(/^(cloudflare:workers|hono(\/[\w/-]+)?)$/.test(specifier!), `${module} imports ${specifier}`);
        continue;
      }
      assert(specifier!.endsWith(".js"), `${module} imports ${specifier}`);
      const target = new URL(specifier!, `file://${built.folder}/${module}`);
      await Deno.stat(module.endsWith(".d.ts") ? target.pathname.replace(/\.js$/, ".d.ts") : target);
    }
  }
});

Deno.test("a fresh project under Node alone: installed, run, and type-checked in each module resolution", async () => {
  await using registry = await startRegistry(built);
  await using project = await freshProject(
    registry,
    { type: "module", private: true },
    "@holdfast/edge",
    "hono",
  );
  await project.copy("app.ts");
  const exports = Object.keys(built.manifest.exports)
    .filter((subpath) => subpath !== "./package.json" && subpath !== "./durable-objects/object");
  const imports = exports.map((subpath, i) => `import * as m${i} from "@holdfast/edge${subpath.slice(1)}";`);
  const namespaces = exports.map((_, i) => `m${i}`).join(", ");
  await project.write("all.ts", `${imports.join("\n")}\nexport const all: object[] = [${namespaces}];\n`);

  await project.write(
    "all.mjs",
    `${imports.join("\n")}\nfor (const m of [${namespaces}]) if (!Object.keys(m).length) throw m;`,
  );
  assertEquals(await project.run("node", "all.mjs"), "");
  for (
    const options of [
      { module: "esnext", moduleResolution: "bundler", exactOptionalPropertyTypes: true },
      // Emits app.js, for Node; without exactOptionalPropertyTypes, as most projects are.
      { module: "nodenext", moduleResolution: "nodenext", noUncheckedIndexedAccess: true, noEmit: false },
    ]
  ) {
    await project.write("tsconfig.json", strictConfig(options));
    const config = `${project.folder}/tsconfig.json`;
    assertEquals(await run(Deno.execPath(), ["run", "-A", "npm:typescript/tsc", "-p", config], root), "");
  }
  assertEquals((await project.run("node", "app.js")).trim(), "[true,4200,true,12,true,1]");
});

Deno.test("npm publishes the folder by the workflow's own command, and corrects nothing in it", async () => {
  const workflow = await Deno.readTextFile(new URL(".github/workflows/publish.yml", root));
  const options = /npm publish \.cache\/npm\/package (.+)/.exec(workflow)?.[1]?.split(" ");
  assert(options !== undefined, "the workflow publishes the folder that `deno task build:npm` makes");
  // npm asks the registry for the newest version, in a dry run too: one that has no package yet.
  await using registry = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, () => {
    return new Response("{}", { status: 404 });
  });
  const { success, stdout, stderr } = await new Deno.Command("npm", {
    args: ["publish", built.folder, ...options, "--dry-run", "--json"],
    env: { NO_COLOR: "1", PATH: ownPath(), npm_config_registry: `http://127.0.0.1:${registry.addr.port}/` },
  }).output();
  const [out, told] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assert(success, told);
  const { name, version, bundled, files } = published(JSON.parse(out!), built.manifest.name);
  assertEquals([name, version, bundled], [built.manifest.name, built.manifest.version, []]);
  assertEquals(files.length, built.files);
  assert(!/auto-corrected|invalid/i.test(told!), told);
});

testTemplates(() => built);

interface Published {
  readonly name: string;
  readonly version: string;
  readonly bundled: readonly string[];
  readonly files: readonly unknown[];
}

/** npm's report of one package: bare, or by its name. */
function published(report: Published | Record<string, Published>, name: string): Published {
  return "files" in report ? report as Published : (report as Record<string, Published>)[name]!;
}
