/** Faults of the compiler itself are caught: what it makes is compared, and what is committed is what the source gives. */
import { betterAuthTransitions } from "@holdfast/edge/better-auth";
import { cacheTransitions } from "@holdfast/edge/cache";
import {
  idempotencyTransitions,
  lockTransitions,
  outboxTransitions,
  sessionTransitions,
  throttleTransitions,
  type Transition,
  valueTransitions,
} from "@holdfast/edge/engine";
import type { UpstashScript } from "../../adapters/upstash/_lua.ts";
import { type Compilers, compileTransitions } from "../../adapters/upstash/compile/compile_transitions.ts";
import { loadCompilers } from "../../adapters/upstash/compile/compilers.ts";
import { CONTRACTS } from "../house/contracts.ts";
import { generated } from "../house/generate.ts";
import { LUA_LIBRARY } from "../../adapters/upstash/compile/lua_library.ts";
import { assert, assertEquals, assertMatch, assertRejects } from "../support/assert.ts";
import { startRedis } from "../support/redis_server.ts";
import { type Case, collectCases, compare, scripts, storing } from "./_differential.ts";
import { fastPaths } from "../../adapters/upstash/compile/fast_paths.ts";
import { inputArgs, luaScript, unpacked } from "../../adapters/upstash/_lua.ts";

const root = new URL("../../", import.meta.url);
const compilers: Compilers = await loadCompilers();

/** Compiles a contract with a fault planted in the compiler: in its library, or in what it writes. */
function compiledWith(
  contract: string,
  { library = {}, rewrite = (lua) => lua }: {
    library?: Record<string, string>;
    rewrite?: (lua: string) => string;
  },
): Map<string, UpstashScript> {
  const real = { ...LUA_LIBRARY };
  try {
    Object.assign(LUA_LIBRARY, library);
    const compiled = compileTransitions([new URL(CONTRACTS[contract]!, root).pathname], compilers);
    return new Map(compiled.map((transition) => {
      const { kind, fields, parts } = transition;
      return [transition.name, { kind, fields, lua: rewrite(parts.join("\n")) }];
    }));
  } finally {
    Object.assign(LUA_LIBRARY, real);
  }
}

/** The compiler's faults: each is one that a compiler of this kind really could have. */
const PLANTS: Record<string, Parameters<typeof compiledWith>[1] & { readonly contracts: readonly string[] }> =
  {
    "a comparison that is off by one": {
      rewrite: (lua) => lua.replaceAll(">=", ">"),
      contracts: ["lock", "outbox", "session"],
    },
    "a comparison the wrong way round": {
      rewrite: (lua) => lua.replace(/<(?!=)/g, ">"),
      contracts: ["idempotency", "cache", "values", "throttle"],
    },
    "a loop in the order of a hash table": {
      library: { __TS__ArraySort: "local function __TS__ArraySort(list) return list end" },
      contracts: ["lock", "outbox"],
    },
    "a number printed as a float": {
      library: {
        tostring: `local function tostring(value)
        return type(value) == "number" and string.format("%.1f", value) or value
      end`,
      },
      contracts: ["lock", "idempotency", "throttle", "values", "session", "outbox", "cache"],
    },
    "an array that begins at zero": {
      library: {
        __TS__StringSlice:
          `local function __TS__StringSlice(text, from, to) return string.sub(text, from, to) end`,
      },
      contracts: ["lock", "throttle", "values"],
    },
  };

const TESTS: Record<string, () => Promise<unknown>> = {
  values: () => import("./value_test.ts"),
  lock: () => import("./lock_test.ts"),
  idempotency: () => import("./idempotency_test.ts"),
  throttle: () => import("./throttle_test.ts"),
  session: () => import("./session_test.ts"),
  outbox: () => import("./outbox_test.ts"),
  cache: () => import("./cache_test.ts"),
};
/** Collected once: a module that is loaded already registers no tests again. */
const collected = new Map<string, Promise<(readonly Case[])[]>>();

function casesOf(contract: string): Promise<(readonly Case[])[]> {
  let cases = collected.get(contract);
  if (cases === undefined) collected.set(contract, cases = collectCases(TESTS[contract]!));
  return cases;
}

for (const [fault, plant] of Object.entries(PLANTS)) {
  for (const contract of plant.contracts) {
    Deno.test(`differential: ${fault} in the compiled Lua of ${contract} is caught`, async () => {
      const all = await casesOf(contract);
      assert(all.length > 0);
      const compiled = compiledWith(contract, plant);
      const sound = compiledWith(contract, {});
      const differs = Array.from(compiled).some(([name, { lua }]) => sound.get(name)!.lua !== lua);
      assert(differs, "the fault is in some script");
      const error = await assertRejects(async () => {
        for (const cases of all) {
          const own = cases.filter(({ transition }) => compiled.has(transition.name));
          await compare(own, { steps: 1500, script: (name) => compiled.get(name) ?? storing() });
        }
      }, Error);
      assertMatch(error.message, /differs: SEED=\d+|does not compile|ERR /);
    });
  }
}

Deno.test("generate: the committed scripts are those that the sources compile to", async () => {
  for (const [path, text] of await generated()) {
    assertEquals(await Deno.readTextFile(new URL(path, root)), text, `run \`deno task generate\`: ${path}`);
  }
});

Deno.test("generate: every transition that writes or has a fast path has a script, and no other has", () => {
  const all: readonly Transition[] = [
    ...valueTransitions,
    ...lockTransitions,
    ...idempotencyTransitions,
    ...throttleTransitions,
    ...sessionTransitions,
    ...outboxTransitions,
    ...cacheTransitions,
    ...betterAuthTransitions,
  ];
  const paths = Object.values(CONTRACTS).map((path) => new URL(path, root).pathname);
  const compiled = compileTransitions(paths, compilers);
  assertEquals(compiled.map(({ name }) => name).sort(), all.map(({ name }) => name).sort());
  const needed = compiled.filter(({ kind, name }) => kind === "write" || fastPaths[name] !== undefined);
  assertEquals([...scripts.keys()].sort(), needed.map(({ name }) => name).sort());
});

Deno.test("generate: a changed line of a transition changes Redis's answer, and a forgotten generate is reported", async () => {
  const copy = await Deno.makeTempDir();
  try {
    for (const folder of ["src", "adapters"]) {
      await copyFolder(new URL(folder, root).pathname, `${copy}/${folder}`);
    }
    const path = `${copy}/src/store/value_transitions.ts`;
    const source = await Deno.readTextFile(path);
    const line = "const sum = Number(text) + Number(input.by);";
    assert(source.includes(line));
    await Deno.writeTextFile(path, source.replace(line, "const sum = Number(text) + 2 * Number(input.by);"));
    const files = await generated(new URL(`file://${copy}/`));
    const name = "adapters/upstash/generated/values.ts";
    const committed = await Deno.readTextFile(new URL(name, root));
    assert(files.get(name) !== committed, "the check of the copy fails");
    for (const [path, text] of files) await Deno.writeTextFile(`${copy}/${path}`, text);
    const { valuesScripts } = await import(`file://${copy}/${name}`);
    await using redis = await startRedis();
    const answers: string[] = [];
    for (const script of [scripts.get("value.increment")!, unpacked(valuesScripts).get("value.increment")!]) {
      const { kind, fields, lua } = script;
      await redis.send("HSET", "key", "v", "\t10");
      const args = inputArgs({ by: "5" }, fields);
      const reply = await redis.send("EVAL", luaScript({ kind, fields, lua }), "1", "key", ...args);
      answers.push(new TextDecoder().decode(reply as Uint8Array));
    }
    assertEquals(answers, ['~["n","15"]', '~["n","20"]']);
  } finally {
    await Deno.remove(copy, { recursive: true });
  }
});

async function copyFolder(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    if (isDirectory) await copyFolder(`${from}/${name}`, `${to}/${name}`);
    else await Deno.copyFile(`${from}/${name}`, `${to}/${name}`);
  }
}

/** Extreme figures of every kind that a transition may meet, through the compiled helpers. */
const FIGURES = [
  "0",
  "-0",
  "",
  "1e3",
  "0x10",
  "inf",
  "nan",
  "NaN",
  " 7 ",
  "9007199254740991",
  "-9007199254740991",
  "1700000000000",
  "000012",
  "1.5",
  "x",
];
const numbers: Transition = {
  name: "test.numbers",
  apply: (record, input) => ({ output: { ...record, ...input } }),
};

Deno.test("generate: numbers are read and printed as in TypeScript, at their extremes too", async () => {
  const file = await Deno.makeTempFile({ suffix: ".ts" });
  const source = `
    type Fields = Readonly<Record<string, string>>;
    interface Step { output: Fields }
    interface Transition { name: string; apply(record: Fields | undefined, input: Fields, now: number): Step }
    function finite(figure: number): boolean { return figure - figure === 0; }
    export const figures: Transition = {
      name: "test.figures",
      apply(_record, input, now): Step {
        const output: Record<string, string> = {};
        for (const name in input) {
          const figure = Number(input[name]);
          output[name] = finite(figure) ? String(Math.floor(figure)) + ":" + String(Math.ceil(figure + now)) : "none";
        }
        return { output };
      },
    };`;
  try {
    await Deno.writeTextFile(file, source);
    const { figures } = await import(`file://${file}`);
    const [script] = compileTransitions([file], compilers);
    const cases: Case[] = [{
      transition: figures as typeof numbers,
      input: (random) =>
        Object.fromEntries(FIGURES.filter(() => random.chance(0.5)).map((text, i) => ["n" + i, text])),
    }];
    const { kind, fields, parts } = script!;
    await compare(cases, { steps: 500, script: () => ({ kind, fields, lua: parts.join("\n") }) });
  } finally {
    await Deno.remove(file);
  }
});
