/** A release: its versions agree everywhere, and its workflow checks them before it publishes. */
import { assert, assertEquals } from "../support/assert.ts";
import { npmManifest } from "./npm_manifest.ts";
import { releaseFaults } from "./release.ts";

const root = new URL("../../", import.meta.url);
const read = (path: string) => Deno.readTextFile(new URL(path, root));
const config = JSON.parse(await read("deno.json"));

Deno.test("deno.json, the npm manifest and the changelog have one version", async () => {
  assertEquals(npmManifest(config, [], undefined).version, config.version);
  // The day of the release is the only thing that may be missing before it.
  const changelog = (await read("CHANGELOG.md")).replace("(unreleased)", "(2026-01-01)");
  assertEquals(releaseFaults(`v${config.version}`, config.version, changelog), []);
});

Deno.test("a release with another tag, another version in the changelog or no day is refused", () => {
  const log = "# Changelog\n\n## 1.2.3 (2026-12-24)\n\n## 1.2.2 (2026-12-01)\n";
  assertEquals(releaseFaults("v1.2.3", "1.2.3", log), []);
  const faults: readonly [tag: string, version: string, changelog: string, fault: RegExp][] = [
    ["1.2.3", "1.2.3", log, /tag must be 'v1\.2\.3'.*'1\.2\.3'$/],
    ["v1.2.4", "1.2.3", log, /tag must be 'v1\.2\.3'/],
    ["v1.2.4", "1.2.4", log, /CHANGELOG\.md must begin with version '1\.2\.4'/],
    ["v1.2.2", "1.2.2", log, /CHANGELOG\.md must begin with version '1\.2\.2'/],
    ["v1.2.3", "1.2.3", log.replace("2026-12-24", "unreleased"), /give the day.*'unreleased'$/],
    ["v1.2.3", "1.2.3", "", /CHANGELOG\.md must begin with version/],
  ];
  for (const [tag, version, changelog, fault] of faults) {
    const found = releaseFaults(tag, version, changelog);
    assert(found.length === 1 && fault.test(found[0]!), `${tag}, ${version}: ${found.join()}`);
  }
});

Deno.test("the workflow checks the release and passes the gate before it publishes", async () => {
  const workflow = await read(".github/workflows/publish.yml");
  const steps = ["tests/packages/release.ts", "bash .ci/run", "task build:npm", " publish\n", "npm publish "];
  const places = steps.map((step) => workflow.indexOf(step));
  assert(places.every((place) => place >= 0), `missing: ${steps.filter((_, i) => places[i]! < 0).join()}`);
  assertEquals(places, places.toSorted((a, b) => a - b));
});
