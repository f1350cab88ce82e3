/**
 * The check before a release: the tag, `deno.json` and the first heading of the changelog agree.
 * `.github/workflows/publish.yml` runs it on the tag, before anything is published:
 *
 *     GITHUB_REF_NAME=v0.1.0 deno run --allow-read --allow-env=GITHUB_REF_NAME tests/packages/release.ts
 */

/** The faults of a release, as sentences; none if it may be published. */
export function releaseFaults(tag: string, version: string, changelog: string): string[] {
  const faults: string[] = [];
  if (tag !== `v${version}`) {
    faults.push(`Cannot publish as the tag must be 'v${version}', the version of deno.json: it is '${tag}'`);
  }
  const heading = /^## (.*)$/m.exec(changelog)?.[1] ?? "";
  const [, released, date] = /^(\S+) \((.*)\)$/.exec(heading) ?? [];
  if (released !== version) {
    faults.push(`Cannot publish as CHANGELOG.md must begin with version '${version}': it has '${heading}'`);
  } else if (!/^\d{4}-\d{2}-\d{2}$/.test(date!)) {
    faults.push(`Cannot publish as CHANGELOG.md must give the day of '${version}': it says '${date}'`);
  }
  return faults;
}

if (import.meta.main) {
  const root = new URL("../../", import.meta.url);
  const { version } = JSON.parse(await Deno.readTextFile(new URL("deno.json", root)));
  const changelog = await Deno.readTextFile(new URL("CHANGELOG.md", root));
  const faults = releaseFaults(Deno.env.get("GITHUB_REF_NAME") ?? "", version, changelog);
  // deno-lint-ignore no-console
  for (const fault of faults) console.error(fault);
  Deno.exit(faults.length === 0 ? 0 : 1);
}
