import rules from "./support/subset_rules.ts";
import { assertEquals } from "./support/assert.ts";

function reports(source: string, file = "/repo/src/lock/lock_transitions.ts"): string[] {
  return Deno.lint.runPlugin(rules, file, source).map(({ message }) => message.split(" is outside")[0]!)
    .sort();
}

Deno.test("the subset: code that does not compile to Lua is refused at its line", () => {
  assertEquals(reports(`const a = /x/.test("x");`), ["'.test()'", "A regular expression"]);
  assertEquals(reports("const a = new Map();"), ["'Map'", "'new'"]);
  assertEquals(reports("const a = [1].map((x) => x);"), ["'.map()'"]);
  assertEquals(reports("const a = Object.entries({});"), ["'Object.entries'"]);
  assertEquals(reports("const a = Number.isSafeInteger(1);"), ["'Number.isSafeInteger'"]);
  assertEquals(reports("const a = Math.random();"), ["'Math.random'"]);
  assertEquals(reports("const a = 1 < undefined;"), ["'undefined' in a comparison"]);
  assertEquals(reports("function f() { throw 1; }"), ["'throw'"]);
  assertEquals(reports("const a = 1 | 2;"), ["'|'"]);
});

Deno.test("the subset: plain records, arrays, loops and numbers are fine, and other files are free", () => {
  const fine = `
    const next: Record<string, string> = { ...record };
    for (const name in next) if (name.startsWith("by:")) delete next[name];
    const parts = text.split(" ");
    parts.push(String(Math.max(Number(parts[0]), 1)));
  `;
  assertEquals(reports(fine), []);
  assertEquals(reports("const a = new Map();", "/repo/src/lock/create_locks.ts"), []);
});
