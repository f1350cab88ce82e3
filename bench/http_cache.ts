/**
 * The public suite of tests for HTTP caches against `withCache`, beside the results that it ships for known caches:
 * `deno task bench:http-cache`. A bench of correctness: it takes about a minute, of which most is the suite's own pauses.
 */
// deno-lint-ignore-file no-console
import { outcome, type Results, runSuite, shippedResults, suiteTests } from "../tests/cache/conformance.ts";

const tests = await suiteTests();
const byId = new Map(tests.map((test) => [test.id, test]));

function score(results: Results, kind: "required" | "optimal" | "check"): string {
  const all = tests.filter((test) => (test.kind ?? "required") === kind);
  const count = (wanted: string) => all.filter((test) => outcome(test, byId, results) === wanted).length;
  return `${count("passed")} | ${count("failed")} | ${count("void")}`;
}

if (Deno.args[0] !== undefined) {
  console.log((await runSuite({}, Deno.args[0]))[Deno.args[0]]);
} else {
  const ours = await runSuite();
  const all = await runSuite({ whenSetCookie: "store", heuristics: "1d" });
  const rows = new Map<string, Results>([
    ["withCache", ours],
    ["withCache, cookies and heuristics on", all],
    ...await shippedResults(),
  ]);
  console.log(
    "| cache | required: passed | failed | void | optimal: passed | failed | void | checks: yes | no | void |",
  );
  console.log("| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |");
  for (const [name, results] of rows) {
    console.log(
      `| ${name} | ${
        (["required", "optimal", "check"] as const).map((kind) => score(results, kind)).join(" | ")
      } |`,
    );
  }
  console.log("\nNot passed by withCache:");
  for (const test of tests) {
    const kind = test.kind ?? "required";
    if (kind === "check" || outcome(test, byId, ours) === "passed") continue;
    const result = ours[test.id];
    console.log(
      `- ${kind}, ${outcome(test, byId, ours)}: ${test.id}: ${
        Array.isArray(result) ? result.join(": ") : result
      }`,
    );
  }
}
