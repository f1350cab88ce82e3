/** The real packages' types satisfy our structural ones and are not `any`; what must not compile does not (`tests/types`). */
import { assertEquals } from "./support/assert.ts";

const folder = new URL("types/", import.meta.url);

/** What the command said, if it failed. */
async function run(command: string, args: string[], cwd: URL = folder): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(command, {
    args,
    cwd,
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  return code === 0 ? "" : text;
}

const tsc = () => run(Deno.execPath(), ["run", "-A", "npm:typescript/tsc", "--project", "tsconfig.json"]);

Deno.test("the types of the real clients fit ours, from Cloudflare to MongoDB, and misuse does not compile", async () => {
  // A project of its own: beside ours, Cloudflare's types would leak into every file.
  assertEquals(await run(Deno.execPath(), ["install", "--frozen"]), "");
  const packed = await Deno.makeTempFile({ suffix: ".tgz" });
  const pack = ["pack", "--allow-dirty", "--no-source-maps", "--output", packed];
  assertEquals(await run(Deno.execPath(), pack, new URL("../", import.meta.url)), "");
  const target = new URL("node_modules/@holdfast/edge/", folder).pathname;
  await Deno.mkdir(target, { recursive: true });
  assertEquals(await run("tar", ["xzf", packed, "-C", target, "--strip-components=1"]), "");
  assertEquals(await tsc(), "");
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
    const text = await tsc();
    const errors = [...text.matchAll(/^planted\.ts\(\d+,\d+\): error (TS\d+)/gm)].map(([, code]) => code);
    // no such module; any is never; an unused expectation
    assertEquals(errors.toSorted(), ["TS2307", "TS2345", "TS2578"]);
  } finally {
    await Deno.remove(planted);
  }
});
