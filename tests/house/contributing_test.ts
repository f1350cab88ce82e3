/** The map in CONTRIBUTING.md: every file it mentions exists, and holds the name that it points to. */
import { assert, assertEquals } from "../support/assert.ts";

const root = new URL("../../", import.meta.url);

Deno.test("CONTRIBUTING.md: every file and every name in it exists", async () => {
  const text = await Deno.readTextFile(new URL("CONTRIBUTING.md", root));
  const missing: string[] = [];
  let found = 0;
  for (
    const [, path, name] of text.matchAll(/`((?:src|adapters|tests|examples)\/[\w/.]+|mod\.ts)(?:#(\w+))?`/g)
  ) {
    found++;
    const url = new URL(path!, root);
    const info = await Deno.stat(url).catch(() => undefined);
    if (info === undefined) missing.push(path!);
    else if (name !== undefined && !new RegExp(`\\b${name}\\b`).test(await Deno.readTextFile(url))) {
      missing.push(`${path}#${name}`);
    }
  }
  assert(found > 50, `only ${found} files found`);
  assertEquals(missing, []);
});
