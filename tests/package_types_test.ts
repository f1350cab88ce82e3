/** The real packages' types satisfy our structural ones and are not `any`; what must not compile does not (`tests/types`). */
import { assertEquals } from "./support/assert.ts";

const folder = new URL("types/", import.meta.url);

async function deno(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd: folder,
    env: { NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  return code === 0 ? "" : text;
}

Deno.test("the types of Cloudflare, Upstash, Hono and zod fit ours, and misuse does not compile", async () => {
  // A project of its own: beside ours, Cloudflare's types would leak into every file.
  assertEquals(await deno("install", "--frozen"), "");
  assertEquals(await deno("run", "-A", "npm:typescript/tsc", "--project", "tsconfig.json"), "");
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
    const text = await deno("run", "-A", "npm:typescript/tsc", "--project", "tsconfig.json");
    const errors = [...text.matchAll(/^planted\.ts\(\d+,\d+\): error (TS\d+)/gm)].map(([, code]) => code);
    // no such module; any is never; an unused expectation
    assertEquals(errors.toSorted(), ["TS2307", "TS2345", "TS2578"]);
  } finally {
    await Deno.remove(planted);
  }
});
