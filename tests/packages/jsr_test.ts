/**
 * JSR's scoring rules (17 points make 100 %), as far as they depend on this repository. `deno publish --dry-run` of the gate has the
 * five points for "no slow types". The description and the runtimes (3 points) are set on the site, the provenance comes from
 * the workflow.
 */
import { assert, assertEquals } from "../support/assert.ts";

const root = new URL("../../", import.meta.url);
const read = (path: string) => Deno.readTextFile(new URL(path, root));
const config = JSON.parse(await read("deno.json"));

Deno.test("JSR, 2 + 1 points: a README with a code block", async () => {
  assert(/^```ts$/m.test(await read("README.md")));
  assert(config.publish.include.includes("README.md"));
});

Deno.test("JSR, 1 point: every entrypoint has a module's documentation", async () => {
  for (const [subpath, file] of Object.entries<string>(config.exports)) {
    assert((await read(file)).includes("\n * @module"), `${subpath} has no module's documentation`);
  }
});

Deno.test("JSR, 5 points: every exported symbol is documented", async () => {
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["doc", "--json", ...Object.values<string>(config.exports)],
    cwd: root,
  }).output();
  assert(success);
  const { nodes } = JSON.parse(new TextDecoder().decode(stdout));
  let count = 0;
  const undocumented: string[] = [];
  for (const { symbols } of Object.values<{ symbols: Symbol[] }>(nodes)) {
    for (const { name, declarations } of symbols) {
      if (
        declarations.every(({ kind, declarationKind }) =>
          kind === "reference" || declarationKind === "private"
        )
      ) continue;
      count++;
      if (!declarations.some(({ jsDoc }) => jsDoc?.doc)) undocumented.push(name);
    }
  }
  assert(count > 300, `${count} symbols`);
  assertEquals(undocumented, []);
});

Deno.test("JSR, 1 point: the workflow publishes with a token of the repository, which makes the provenance", async () => {
  const workflow = await read(".github/workflows/publish.yml");
  assert(/^ {6}id-token: write/m.test(workflow) && /deno@\S+ publish$/m.test(workflow));
  assert(/npm publish \S+ --provenance/.test(workflow));
  for (const [, action] of workflow.matchAll(/uses: (\S+)/g)) assert(/@[0-9a-f]{40}$/.test(action!), action);
});

Deno.test("JSR's rules for packages: a licence, and a name that it accepts", () => {
  assertEquals(config.license, "MIT");
  assert(/^@[a-z0-9-]{2,20}\/[a-z0-9-]{2,20}$/.test(config.name));
});

interface Symbol {
  readonly name: string;
  readonly declarations: readonly {
    readonly kind: string;
    readonly declarationKind: string;
    readonly jsDoc?: { readonly doc?: string };
  }[];
}
