/** The public suite of tests for HTTP caches, as a bar: it may only rise. */
import { assert, assertEquals } from "../support/assert.ts";
import { report } from "../support/report.ts";
import { outcome, runSuite, shippedResults, suiteTests } from "./conformance.ts";

/** Tests that the suite calls required and that are not passed, each with the reason. */
const NOT_PASSED: Readonly<Record<string, string>> = {
  "age-parse-prefix":
    "RFC 9111 §5.1: a cache that meets a list-based Age 'SHOULD use the first member'. The suite itself has `0, 0` be stale and " +
    "`0,7200` be fresh; any such response is stale here, as its age is not known. No cache must reuse a response (§2: " +
    "'caching is an entirely OPTIONAL feature').",
  "headers-store-Set-Cookie":
    "RFC 9111 §7.3: Set-Cookie 'does not inhibit caching', it does not ask for it either; by default such a response is not " +
    'kept. With `whenSetCookie: "store"` the test passes.',
  "304-etag-update-response-Set-Cookie": "As above.",
  // The suite counts these only for a cache that answers stale responses unasked. RFC 9111 §4.2.4: 'A cache MUST NOT
  // generate a stale response unless it is disconnected or doing so is explicitly permitted by the client or origin server'.
  "stale-close-must-revalidate": "Not counted: `stale-close`, a check, is answered with no.",
  "stale-close-proxy-revalidate": "Not counted, as above.",
  "stale-close-no-cache": "Not counted, as above.",
  "stale-close-s-maxage=2": "Not counted, as above.",
};

Deno.test({
  name: "withCache() passes what the public suite requires, and more of the optimal than nginx",
  sanitizeOps: false,
  sanitizeResources: false,
  async fn() {
    const tests = await suiteTests();
    const byId = new Map(tests.map((test) => [test.id, test]));
    const ours = await runSuite();
    const required = tests.filter(({ kind = "required" }) => kind === "required");
    const failed = required.filter((test) => outcome(test, byId, ours) !== "passed").map(({ id }) => id);
    assertEquals(failed.filter((id) => !(id in NOT_PASSED)), []);
    const optimal = (results: typeof ours) =>
      tests.filter((test) => test.kind === "optimal" && outcome(test, byId, results) === "passed").length;
    const nginx = optimal((await shippedResults()).get("nginx")!);
    report(
      `required: ${required.length - failed.length} of ${required.length}; optimal: ${
        optimal(ours)
      }, nginx: ${nginx}\n`,
    );
    assert(optimal(ours) >= nginx);
  },
});
