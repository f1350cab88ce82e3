/**
 * Clients that leave in workerd: a service binding with an AbortSignal cancels the request, and with it what
 * is not in waitUntil.
 */
import { assert, assertEquals } from "../support/assert.ts";
import { report } from "../support/report.ts";
import { startWorkerd, workerdTest } from "../support/workerd.ts";
import type { Seen } from "./idempotency_worker.ts";

workerdTest("idempotency() and withIdempotency() in workerd when clients leave", async (t) => {
  await using worker = await startWorkerd({
    entry: new URL("./idempotency_worker.ts", import.meta.url),
    durableObjects: { HOLDFAST: "HoldfastObject" },
    self: "SELF",
  });
  const drive = async (path: string, engine: string, count: number): Promise<Seen[]> => {
    const query = new URLSearchParams({ path, engine, count: String(count) });
    const response = await worker.fetch(`/drive?${query}`);
    if (!response.ok) throw new Error(await response.text());
    return await response.json();
  };
  const judge = (seen: Seen[], what: string) => {
    assertEquals(seen.flatMap(({ error }) => error ?? []), [], what);
    assertEquals(seen.filter(({ overlapped }) => overlapped).length, 0, `${what}: two handlers at once`);
    assertEquals(seen.filter(({ runs }) => runs !== 1).length, 0, `${what}: not exactly one run`);
    assertEquals(seen.filter(({ right }) => !right).length, 0, `${what}: another answer than the handler's`);
    const cancelled = seen.filter(({ early }) => !early).length;
    report(`workerd: ${what}: ${seen.length} clients, ${cancelled} cancelled in time, one run each`);
    assert(cancelled > seen.length / 2, `${what}: the clients leave before the answer`);
  };
  for (const engine of ["objects", "memory"]) {
    await t.step(
      `30 cancelled POSTs and 50 streams of withIdempotency(), 30 deliveries of webhook() on ${engine}: the same`,
      async () => {
        judge(await drive("/http/pay", engine, 30), `POSTs of withIdempotency() on ${engine}`);
        judge(await drive("/http/stream", engine, 50), `streams of withIdempotency() on ${engine}`);
        judge(await drive("/http/hook", engine, 30), `deliveries of a webhook() on ${engine}`);
      },
    );
    await t.step(
      `100 cancelled POSTs on ${engine}: 100 runs, and each retry gets the first answer`,
      async () => {
        judge(await drive("/pay", engine, 100), `POSTs on ${engine}`);
      },
    );
    await t.step(`200 cancelled streams on ${engine}: one run each, replayed byte for byte`, async () => {
      judge(await drive("/stream", engine, 200), `streams on ${engine}`);
    });
  }
});
