/** The step that shortens compiled Lua changes nothing else: each rule, and shapes that look like its own. */
import { unpacked } from "../../adapters/upstash/_lua.ts";
import { minifyLua } from "../../adapters/upstash/compile/minify_lua.ts";
import { tidyLua } from "../../adapters/upstash/compile/tidy_lua.ts";
import { assertEquals } from "../support/assert.ts";

Deno.test("compile: reads of several fields are one statement, unless one of them changes what the next reads", () => {
  const copied = "    local ____policy_0 = policy\n    local window = ____policy_0.window\n" +
    `    local till = ____policy_0["until"]\n`;
  assertEquals(tidyLua([copied]), [`    local window, till = policy.window, policy["until"]\n`]);
  const own = "    local ____a_0 = a\n    local a = ____a_0.b\n    local c = ____a_0.c\n";
  assertEquals(tidyLua([own]), [
    "    local ____a_0 = a\n    local a, c = ____a_0.b, ____a_0.c\n",
  ], "the copy stays, and is read twice before `a` changes");
  const next = "    local b = a.b\n    local a = a.c\n    local d = a.d\n";
  assertEquals(tidyLua([next]), [next]);
});

Deno.test("compile: a parameter that is taken apart is read where it is declared, and keeps its defaults", () => {
  const taken = "    local text\n    local owner\n    owner = ____bindingPattern0.owner\n" +
    `    text = ____bindingPattern0.text\n    if text == nil then\n        text = ""\n    end\n    return owner\n`;
  assertEquals(tidyLua([taken]), [
    "    local owner, text = ____bindingPattern0.owner, ____bindingPattern0.text\n" +
    `    if text == nil then\n        text = ""\n    end\n    return owner\n`,
  ]);
  const other =
    "    local rest\n    local owner\n    owner = ____bindingPattern0.owner\n    rest = other()\n";
  assertEquals(tidyLua([other]), [other]);
});

Deno.test("compile: optional chaining is an `and`, another choice stays an `if`", () => {
  const choice = (value: string) =>
    "    local ____temp_1\n    if record == nil then\n        ____temp_1 = nil\n    else\n" +
    `        ____temp_1 = ${value}\n    end\n    local text = ____temp_1\n`;
  assertEquals(tidyLua([choice("record[policy.field]")]), [
    "    local text = record and record[policy.field]\n",
  ]);
  assertEquals(tidyLua([choice("input.text")]), [choice("input.text")]);
});

Deno.test("compile: a number that has a name stands where the name stood, but not in texts and fields", () => {
  const use = `local function f(n) return n + MOST, "MOST", n.MOST end`;
  assertEquals(tidyLua(["local MOST = 16", use]), [`local function f(n) return n + 16, "MOST", n.MOST end`]);
});

Deno.test("scripts: a transition has the parts that it names, also by way of others, in their order", () => {
  const scripts = unpacked({
    parts: [
      "local\nfunction A()return 1 end",
      "local\nfunction B()return A()end",
      "local C={1}",
      "local D,E=1,2",
    ],
    scripts: {
      one: { fields: "x y", lua: "local apply=function()return B()end" },
      two: { kind: "read", fields: "", lua: "local apply=function()return C end", fast: "return '='" },
    },
  });
  const [a, b, c, many] = [
    "local\nfunction A()return 1 end",
    "local\nfunction B()return A()end",
    "local C={1}",
    "local D,E=1,2",
  ];
  assertEquals(scripts.get("one"), {
    kind: "write",
    fields: ["x", "y"],
    lua: [a, b, many, "local apply=function()return B()end"].join("\n"),
  });
  assertEquals(scripts.get("two"), {
    kind: "read",
    fields: [],
    lua: [c, many, "local apply=function()return C end"].join("\n"),
    fast: "return '='",
  });
});

Deno.test("compile: a passage of several chunks stays equal, whatever stands around it", () => {
  const passage = "local found = redis.call('HGET', key, 'v')";
  const [short] = minifyLua([{
    parts: ["local function longName(value) return value end"],
    alone: [`local key, memory = KEYS[1], KEYS[2] ${passage}`, `local other, key = 1, KEYS[1] ${passage}`],
    around: ["local record = {}", "local step = apply(record)"],
  }]);
  const { alone, around } = short!;
  const ends = alone.map((text) => text.slice(text.lastIndexOf("local")));
  assertEquals(ends[0], ends[1]);
  // What parts define begins with a capital: it hides no name of what stands around them.
  assertEquals(around, ["local a={}", "local b=apply(a)"]);
});
