/** The real packages' types satisfy our structural ones and are not `any`; what must not compile does not (`tests/types`). */
import { assertEquals } from "./support/assert.ts";

const folder = new URL("types/", import.meta.url);

/** The output of the command, if it failed. */
async function run(command: string, args: string[], cwd: URL = folder): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(command, {
    args,
    cwd,
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  return code === 0 ? "" : text;
}

/** Packages of `node_modules/.deno` by their names, newest last: Deno links one version of each. */
function versions(name: string): string[] {
  const all = [...Deno.readDirSync(new URL("node_modules/.deno/", folder))].map((entry) => entry.name);
  return all.filter((entry) => entry.startsWith(`${name}@`))
    .sort((a, b) => a.localeCompare(b, undefined, { numeric: true }))
    .map((entry) => new URL(`node_modules/.deno/${entry}/node_modules/${name}`, folder).pathname);
}

/** The errors of the oldest compiler that is promised, and of the newest; or of the newest alone. */
async function tsc(project: string, newest = false): Promise<string[]> {
  const compilers = versions("typescript");
  assertEquals(compilers.length, 2);
  const texts: string[] = [];
  for (const compiler of newest ? compilers.slice(1) : compilers) {
    const script = await Deno.realPath(`${compiler}/bin/tsc`);
    texts.push(await run(Deno.execPath(), ["run", "-A", script, "--project", project]));
  }
  return texts;
}

/** `hono-other` is the least Hono: Deno knows the alias, a bundler or tsc wants a folder of that name. */
async function linkOtherHono(): Promise<void> {
  const { imports } = JSON.parse(await Deno.readTextFile(new URL("deno.json", folder)));
  const version = imports["hono-other"].replace("npm:", "");
  const link = new URL("node_modules/hono-other", folder);
  await Deno.remove(link).catch(() => {});
  await Deno.symlink(versions("hono").find((path) => path.includes(`/${version}/`))!, link);
}

Deno.test("the types of the real clients fit ours, from Cloudflare to MongoDB, and misuse does not compile", async () => {
  // A project of its own: beside ours, Cloudflare's types would leak into every file.
  assertEquals(await run(Deno.execPath(), ["install", "--frozen"]), "");
  const packed = await Deno.makeTempFile({ suffix: ".tgz" });
  const pack = ["pack", "--allow-dirty", "--no-source-maps", "--output", packed];
  assertEquals(await run(Deno.execPath(), pack, new URL("../", import.meta.url)), "");
  const target = new URL("node_modules/@holdfast/edge/", folder).pathname;
  await Deno.mkdir(target, { recursive: true });
  assertEquals(await run("tar", ["xzf", packed, "-C", target, "--strip-components=1"]), "");
  await linkOtherHono();
  assertEquals(await tsc("tsconfig.json"), ["", ""]);
  // With the least Hono that the documentation names, in place of the newest.
  assertEquals(await tsc("tsconfig.least.json", true), [""]);
});

Deno.test("a type that is `any` is noticed", async () => {
  const planted = new URL("planted.ts", folder);
  await Deno.writeTextFile(
    planted,
    `import { type KVNamespace } from "@cloudflare/workers-types/nothing";
     const real = <T>(_value: 0 extends 1 & T ? never : T): void => {};
     // deno-lint-ignore no-explicit-any
     declare const kv: any;
     real<any>(kv);
     // @ts-expect-error it would be an error if it were real
     const number: number = kv;
     export { number, type KVNamespace };`,
  );
  try {
    for (const text of await tsc("tsconfig.json", true)) {
      const errors = [...text.matchAll(/^planted\.ts\(\d+,\d+\): error (TS\d+)/gm)].map(([, code]) => code);
      // no such module; any is never; an unused expectation
      assertEquals(errors.toSorted(), ["TS2307", "TS2345", "TS2578"]);
    }
  } finally {
    await Deno.remove(planted);
  }
});
