/**
 * A server on replicated sessions, ended by a signal: `deno run _drain_process.ts <primary> <secondary>`. Its
 * secondary answers slowly, so that there is something to drain.
 */
import { createSessions } from "@holdfast/edge";
import { atomicSessionStore, replicatedSessions } from "@holdfast/edge/sessions";
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { slow } from "./_slow.ts";

const [first, second] = await Promise.all(Deno.args.map((path) => Deno.openKv(path)));
const copies = slow(atomicSessionStore(denoKvStore(second!), { remember: "10m" }), 300);
const store = replicatedSessions(denoKvStore(first!), copies, { parallel: 4 });
const sessions = createSessions(store);

const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen }, async (request) => {
  const session = sessions.fromRequest(request);
  session.set("x", 1);
  return await session.commit(new Response("written"));
});
for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, () => server.shutdown());
await server.finished;
await say({ waited: store.pending, ...await store.close() });
for (const kv of [first!, second!]) kv.close();
Deno.exit(0);

function onListen({ port }: { readonly port: number }): void {
  say({ port });
}

async function say(what: Readonly<Record<string, number>>): Promise<void> {
  await Deno.stdout.write(new TextEncoder().encode(JSON.stringify(what)));
}
