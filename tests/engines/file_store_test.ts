/** The engine that the guide "Writing an engine" builds keeps every law. */
import { fileStore } from "../../examples/file-engine/file_store.ts";
import { assert } from "../support/assert.ts";
import { contracts } from "../support/contracts.ts";
import { inVirtualTime } from "../support/virtual_time.ts";

for (const [contract, list] of Object.entries(contracts)) {
  for (const law of list) {
    // Work that a law gave up ends behind the scenes.
    const quiet = { sanitizeOps: false, sanitizeResources: false };
    Deno.test(`file engine: ${contract}: ${law.name}`, quiet, async () => {
      const folder = await Deno.makeTempDir();
      const { now } = Date;
      try {
        await law.run(inVirtualTime((clock) => {
          Date.now = () => clock.now(); // the engine's only clock
          return fileStore(folder);
        }));
      } finally {
        Date.now = now;
        await Deno.remove(folder, { recursive: true });
      }
    });
  }
}

Deno.test("the file engine has at most 60 lines of code", async () => {
  const source = await Deno.readTextFile(
    new URL("../../examples/file-engine/file_store.ts", import.meta.url),
  );
  const code = source.split("\n").filter((line) => line.trim() !== "" && !/^\s*(\/\/|\/\*|\*)/.test(line));
  assert(code.length <= 60, `${code.length} lines`);
});

Deno.test("the guide shows the file engine as it is", async () => {
  const read = (path: string) => Deno.readTextFile(new URL(`../../${path}`, import.meta.url));
  const source = (await read("examples/file-engine/file_store.ts")).split("\n").slice(1).join("\n").trim();
  assert((await read("docs/writing-an-engine.md")).includes(source));
});
