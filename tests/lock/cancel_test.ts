/** Clients that leave while their request waits for a lock or holds it, in workerd. */
import { assert, assertEquals } from "../support/assert.ts";
import { report } from "../support/report.ts";
import { startWorkerd, workerdTest } from "../support/workerd.ts";

// The second date is before requests could resolve each other's promises.
for (const compatibilityDate of ["2026-07-01", "2024-09-01"]) {
  workerdTest(
    `lock() and withLock() in workerd of ${compatibilityDate}, with clients that leave`,
    async (t) => {
      await using worker = await startWorkerd({
        entry: new URL("./cancel_worker.ts", import.meta.url),
        durableObjects: { HOLDFAST: "HoldfastObject" },
        self: "SELF",
        compatibilityDate,
      });
      const probe = async (path: string) => {
        const response = await worker.fetch(`/${path}`);
        if (!response.ok) throw new Error(await response.text());
        return await response.json();
      };

      await t.step(
        "a client that leaves in the middle of the handler: it ends, and the lock is released",
        async () => {
          for (const kind of ["work", "http-work"]) {
            const { free, finished, after } = await probe(`leave?kind=${kind}`);
            report(`lock(): free ${free} ms after the client left; the handler needed 350 more`);
            assertEquals([finished, after], [1, 200]);
            assert(free < 60_000, `free after ${free} ms, with a ttl of ten minutes`);
          }
        },
      );

      await t.step("a client that leaves while the lock is acquired leaves no lock behind", async () => {
        for (const kind of ["slow", "http-slow"]) {
          const { free, after } = await probe(`leave?kind=${kind}`);
          assertEquals(after, 200);
          assert(free < 60_000, `free after ${free} ms, with a ttl of ten minutes`);
        }
      });

      await t.step(
        "clients that close their sockets leave no lock `until: body` behind, although it is renewed",
        async () => {
          const leave = async (kind: string, after: number) => {
            const id = crypto.randomUUID();
            const { hostname, port } = new URL(worker.url);
            const socket = await Deno.connect({ hostname, port: Number(port) });
            const head = `GET /${kind}/${id}?ms=300 HTTP/1.1\r\nHost: app.test\r\n\r\n`;
            await socket.write(new TextEncoder().encode(head));
            await new Promise((resolve) => setTimeout(resolve, after));
            socket.close();
            const { free } = await probe(`free?id=${id}`);
            report(`lock(), ${kind}: free ${free} ms after the client left, ${after} ms after it asked`);
            assert(free < 60_000, `free after ${free} ms, with a ttl of ten minutes`);
          };
          await Promise.all(
            [5, 60, 150, 320, 400].flatMap((after) =>
              ["text", "flow", "http-text", "http-flow"].map((kind) => leave(kind, after))
            ),
          );
        },
      );

      for (const kind of ["wait", "fair", "bare", "http-wait", "http-fair"]) {
        await t.step(
          `of 20 requests that wait (${kind}) ten leave: the others are served, none waits for the dead`,
          async () => {
            const { answers, took, free } = await probe(`queue?kind=${kind}`);
            report(`lock(), ${kind}: ten served ${took} ms after the release, ten others had left`);
            assertEquals(answers, Array.from({ length: 20 }, (_, i) => i % 2 === 0 ? "left" : 200));
            // Ten dead in a row would cost three seconds each until they count as such, and their leases where they held it.
            assert(took < 25_000 && free < 60_000, `served after ${took} ms, free after ${free} ms`);
          },
        );
      }
    },
  );
}
