/** A transition of a user's own, in a folder of its own: compiled by the command, it runs on Redis in one request. */
import { assert, assertEquals, assertMatch } from "../support/assert.ts";
import { startRedis } from "../support/redis_server.ts";
import { startUpstash } from "../support/upstash_server.ts";

const root = new URL("../../", import.meta.url);

/** The files of `docs/writing-a-contract.md`, as they stand there. */
const guide = await Deno.readTextFile(new URL("docs/writing-a-contract.md", root));
const [TRANSITION = "", USE = "", APP = ""] = Array.from(
  guide.matchAll(/```ts(?: ignore)?\n([\s\S]*?)```/g),
  ([, code]) => code!,
);
const COMMAND = /deno run -A jsr:@holdfast\/edge\/upstash\/compile (.*)\n/.exec(guide)![1]!.split(" ");

/** The same with and without its script: twelve calls each. */
const BOTH = `
import { upstashStore } from "@holdfast/edge/upstash";
import { takeUnits } from "./stock.ts";
import { scripts } from "./stock_scripts.ts";

const [url, token] = Deno.args as [string, string];
const answers: unknown[] = [];
for (const options of [{ scripts: [scripts], prefix: "one" }, { prefix: "two" }]) {
  const store = upstashStore({ url, token }, options);
  for (const units of [-5, 2, 4, 3]) answers.push(await takeUnits(store, "pears", units) ?? null);
}
console.log(JSON.stringify(answers));
`;

async function run(cwd: string, ...args: string[]): Promise<{ code: number; out: string; error: string }> {
  const command = new Deno.Command(Deno.execPath(), { args, cwd, stdout: "piped", stderr: "piped" });
  const { code, stdout, stderr } = await command.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), error: text(stderr) };
}

Deno.test("compile: the guide's own transition, in a fresh folder, takes one request on Redis", async () => {
  await using redis = await startRedis();
  await using server = await startUpstash(redis.port);
  const folder = await Deno.makeTempDir();
  try {
    const imports = {
      "@holdfast/edge": new URL("mod.ts", root).href,
      "@holdfast/edge/engine": new URL("src/store/mod.ts", root).href,
      "@holdfast/edge/upstash": new URL("adapters/upstash/mod.ts", root).href,
    };
    await Deno.writeTextFile(`${folder}/deno.json`, JSON.stringify({ imports }));
    await Deno.writeTextFile(`${folder}/stock_transitions.ts`, TRANSITION);
    await Deno.writeTextFile(`${folder}/stock.ts`, USE);
    await Deno.writeTextFile(`${folder}/app.ts`, APP);
    await Deno.writeTextFile(`${folder}/both.ts`, BOTH);
    const compiler = new URL("adapters/upstash/compile/mod.ts", root).href;
    const made = await run(folder, "run", "-A", compiler, ...COMMAND);
    assertEquals(made.code, 0, made.error);
    const ran = await run(folder, "run", "-A", "--no-check", "app.ts", server.url, server.token);
    assertEquals([ran.code, ran.out], [0, "3 undefined\n"], ran.error);
    server.requests(); // looking forgets
    const both = await run(folder, "run", "-A", "--no-check", "both.ts", server.url, server.token);
    assertEquals(both.code, 0, both.error);
    assertEquals(JSON.parse(both.out), [5, 3, null, 0, 5, 3, null, 0]);
    // Redis knows the compiled script already. The scripts of the other form it learns at their first calls.
    const requests = server.requests().map(({ command }) => JSON.stringify(command));
    const [one, two] = ["one", "two"].map((prefix) => requests.filter((text) => text.includes(prefix + ":")));
    assertEquals(one!.length, 4);
    assert(two!.length >= 8, `${two!.length} requests`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("compile: code outside the subset is an error that names the transition and the construct", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(
      `${folder}/bad_transitions.ts`,
      TRANSITION.replace("Number(input.units)", "Number(/[0-9]+/.exec(input.units!)![0])"),
    );
    const compiler = new URL("adapters/upstash/compile/mod.ts", root).href;
    const { code, error } = await run(folder, "run", "-A", compiler, "bad_transitions.ts", "--out", "x.ts");
    assert(code !== 0);
    assertMatch(error, /Cannot compile stock\.take as it is outside the subset: .*RegularExpression/);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
