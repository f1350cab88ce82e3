/** better-auth on Durable Objects: an object runs the transitions that its class registers. */
import { assert, assertEquals } from "../support/assert.ts";
import { startWorkerd, workerdTest } from "../support/workerd.ts";

workerdTest("better-auth on Durable Objects: the object's class registers its transitions", async () => {
  await using worker = await startWorkerd({
    entry: new URL("./objects_worker.ts", import.meta.url),
    durableObjects: { AUTH: "AuthObject", PLAIN: "HoldfastObject" },
  });
  const { kept, deleted, fault } = await (await worker.fetch("/")).json() as {
    kept: boolean;
    deleted: string | null;
    fault: { code: string; message: string };
  };
  assertEquals([kept, deleted], [true, null]);
  assertEquals(fault.code, "transition-unknown");
  assert(fault.message.includes("transitions"), fault.message);
});
