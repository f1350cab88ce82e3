/** A process that gets a signal replicates what is queued: close() under real signals. */
import { createSessions } from "@holdfast/edge";
import { atomicSessionStore } from "@holdfast/edge/sessions";
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { assert, assertEquals } from "../support/assert.ts";

const script = new URL("./_drain_process.ts", import.meta.url).pathname;
const config = new URL("../../deno.json", import.meta.url).pathname;
const REQUESTS = 12;

Deno.test("close() under SIGTERM and SIGINT ships pending work before the process ends", async () => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    const folder = await Deno.makeTempDir();
    const paths = [`${folder}/first`, `${folder}/second`];
    const server = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", "--unstable-kv", "--no-check", `--config=${config}`, script, ...paths],
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const lines = server.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const line = async () => JSON.parse((await lines.read()).value!);
    const { port } = await line();
    const cookies = await Promise.all(
      Array.from({ length: REQUESTS }, async () => {
        const response = await fetch(`http://127.0.0.1:${port}/`);
        await response.body?.cancel();
        return response.headers.get("set-cookie")!.split(";")[0]!;
      }),
    );
    server.kill(signal);
    const { waited, pending } = await line();
    assert(waited > 0, "there was something to drain");
    assertEquals([pending, (await server.status).code], [0, 0]);
    await lines.cancel();
    using kv = await Deno.openKv(paths[1]);
    const copies = createSessions(atomicSessionStore(denoKvStore(kv)));
    for (const cookie of cookies) assertEquals(await copies.open(cookie).get("x"), 1, signal);
    await Deno.remove(folder, { recursive: true });
  }
});
