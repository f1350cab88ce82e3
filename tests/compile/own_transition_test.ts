/** A transition of a user's own, in a folder of its own: compiled by the command, it runs on Redis in one request. */
import { assert, assertEquals, assertMatch } from "../support/assert.ts";
import { startRedis } from "../support/redis_server.ts";
import { startUpstash } from "../support/upstash_server.ts";

const root = new URL("../../", import.meta.url);

const TRANSITION = `
import type { Fields, Step, Transition } from "@holdfast/edge/engine";

const NOTHING = "0";

function count(record: Fields | undefined): number {
  return record === undefined ? 0 : Number(record.left ?? NOTHING);
}

/** Takes from a stock, or adds to it; it never gets below zero. */
export const take: Transition = {
  name: "stock.take",
  apply(record, input, now): Step {
    const left = count(record) - Number(input.units);
    if (left < 0) return { output: { done: "0", left: String(count(record)) } };
    return { output: { done: "1", left: String(left) }, write: { record: { left: String(left) }, expiresAt: now + 60000 } };
  },
};
`;

const APP = `
import { upstashStore } from "@holdfast/edge/upstash";
import { take } from "./stock_transitions.ts";
import { scripts } from "./stock_scripts.ts";

const [url, token] = Deno.args as [string, string];
const answers: unknown[] = [];
for (const options of [{ scripts: [scripts], prefix: "one" }, { prefix: "two" }]) {
  const store = upstashStore({ url, token }, options);
  for (const units of ["-5", "2", "4", "3"]) answers.push(await store.transact(take, "apples", { units }));
}
console.log(JSON.stringify(answers));
`;

async function run(cwd: string, ...args: string[]): Promise<{ code: number; out: string; error: string }> {
  const command = new Deno.Command(Deno.execPath(), { args, cwd, stdout: "piped", stderr: "piped" });
  const { code, stdout, stderr } = await command.output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, out: text(stdout), error: text(stderr) };
}

const ANSWERS = [
  { done: "1", left: "5" },
  { done: "1", left: "3" },
  { done: "0", left: "3" },
  { done: "1", left: "0" },
];

Deno.test("compile: a transition of one's own, in a fresh folder, takes one request on Redis", async () => {
  await using redis = await startRedis();
  await using server = await startUpstash(redis.port);
  const folder = await Deno.makeTempDir();
  try {
    const imports = {
      "@holdfast/edge/engine": new URL("src/store/mod.ts", root).href,
      "@holdfast/edge/upstash": new URL("adapters/upstash/mod.ts", root).href,
    };
    await Deno.writeTextFile(`${folder}/deno.json`, JSON.stringify({ imports }));
    await Deno.writeTextFile(`${folder}/stock_transitions.ts`, TRANSITION);
    await Deno.writeTextFile(`${folder}/app.ts`, APP);
    const compiler = new URL("adapters/upstash/compile/mod.ts", root).href;
    const made = await run(
      folder,
      "run",
      "-A",
      compiler,
      "stock_transitions.ts",
      "--out",
      "stock_scripts.ts",
    );
    assertEquals(made.code, 0, made.error);
    server.requests(); // looking forgets
    const ran = await run(folder, "run", "-A", "--no-check", "app.ts", server.url, server.token);
    assertEquals(ran.code, 0, ran.error);
    assertEquals(JSON.parse(ran.out), [...ANSWERS, ...ANSWERS]);
    // One request for each call of the compiled one, and two for the script that Redis did not know yet; the other takes
    // two and three.
    const requests = server.requests().length;
    assert(requests <= 6 + 11, `${requests} requests`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("compile: what is outside the subset is an error that names the transition and the construct", async () => {
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
