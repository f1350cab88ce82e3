/** throttle() inside workerd, with a store that is made anew for each request. */
import { assert, assertEquals } from "../support/assert.ts";
import { startWorkerd, workerdTest } from "../support/workerd.ts";

workerdTest("throttle() on Workers: what is kept between requests", async (t) => {
  await using worker = await startWorkerd({
    entry: new URL("./throttle_worker.ts", import.meta.url),
    durableObjects: { HOLDFAST: "HoldfastObject" },
  });
  const status = async (path: string, init?: RequestInit) => {
    const response = await worker.fetch(path, init);
    await response.body?.cancel();
    return response.status;
  };
  const calls = async () => await (await worker.fetch("/calls")).json() as number;
  const statuses = async (path: string, count: number) => {
    const all: number[] = [];
    for (let i = 0; i < count; i++) all.push(await status(path));
    return all;
  };

  await t.step("a deny cache answers later requests of a denied key without a call", async () => {
    for (const path of ["/cached?key=a", "/planned?key=a"]) {
      await calls();
      assertEquals(await statuses(path, 2), [200, 429], path);
      assertEquals(await calls(), 2, path);
      assertEquals(await statuses(path, 5), [429, 429, 429, 429, 429], path);
      assertEquals(await calls(), 0, path);
    }
    assertEquals(await statuses("/asked?key=a", 6), [200, 429, 429, 429, 429, 429]);
    assertEquals(await calls(), 6, "without one every request asks");
    assertEquals(await status("/cached?key=b"), 200, "another key");
  });

  await t.step(
    "a request that was cancelled while it asked leaves nothing that later ones wait for",
    async () => {
      for (let round = 0; round < 3; round++) {
        const left = Array.from({ length: 10 }, async (_, i) => {
          const signal = AbortSignal.timeout(1 + 7 * i);
          return await status("/slow?key=hot", { signal }).catch(() => "left");
        });
        const answers = await Promise.all([...left, status("/cached?key=a"), status("/asked?key=a")]);
        assertEquals(answers.slice(-2), [429, 429]);
        assert(answers.includes("left"), "some left early");
      }
      assertEquals(await status("/slow?key=hot"), 200);
    },
  );

  await t.step(
    "120 requests at once and one after the other use a session, a lock, a key and a throttle",
    async () => {
      const post = (i: number) =>
        status(`/all?key=${i % 50}`, { method: "POST", headers: { "idempotency-key": crypto.randomUUID() } });
      const found = await Promise.all(Array.from({ length: 60 }, (_, i) => post(i)));
      for (let i = 0; i < 60; i++) found.push(await post(i));
      assertEquals([...new Set(found)], [200]);
    },
  );
});
