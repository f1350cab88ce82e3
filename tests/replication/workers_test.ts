/** Replicated sessions inside workerd: what `waitUntil` is for. */
import { assertEquals } from "../support/assert.ts";
import { eventually } from "../support/eventually.ts";
import { startWorkerd, workerdTest } from "../support/workerd.ts";

workerdTest(
  "replicated sessions on Workers: a copy that waitUntil keeps alive arrives after the response",
  async () => {
    await using worker = await startWorkerd({
      entry: new URL("workers_worker.ts", import.meta.url),
      durableObjects: { HOLDFAST: "HoldfastObject" },
    });
    let cookie = "";
    const ask = async (method: string, path: string) => {
      const response = await worker.fetch(path, { method, headers: { cookie } });
      const text = await response.text();
      assertEquals(response.status, 200, text);
      const [set] = response.headers.getSetCookie();
      if (set !== undefined) cookie = set.split(";")[0]!;
      return text;
    };
    const arrives = async (text: string) => {
      await eventually(async () => await ask("GET", "/copy") === text, `the copy becomes ${text}`);
    };
    await ask("POST", "/login");
    assertEquals(await ask("GET", "/copy"), "[null,null]", "not yet");
    await arrives('["ada",null]');
    await ask("POST", "/count");
    await arrives('["ada",1]');
    await ask("POST", "/careless");
    await new Promise((resolve) => setTimeout(resolve, 3000));
    assertEquals(await ask("GET", "/copy"), '["ada",1]', "without it the copy dies with its request");
    assertEquals(await ask("GET", "/"), '["ada",2]');
    await arrives('["ada",2]'); // the read saw the difference
    await ask("POST", "/count");
    await arrives('["ada",3]');
    assertEquals(await ask("POST", "/logout"), "out");
    assertEquals([await ask("GET", "/"), await ask("GET", "/copy")], ["[null,null]", "[null,null]"]);
  },
);
