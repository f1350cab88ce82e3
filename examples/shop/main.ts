/** Serves the shop on this machine: `deno task start`, `PORT` is honoured. */
import { memoryStore } from "@holdfast/edge";
import { createShop } from "./shop.ts";

const port = Number(Deno.env.get("PORT") || 8000);
if (!(Number.isInteger(port) && port >= 0 && port <= 65535)) {
  fail(`PORT must be a number between 0 and 65535: current value is ${Deno.env.get("PORT")}`);
}
const shop = createShop({ store: memoryStore(), secureCookies: false });

try {
  const server = Deno.serve({ port, hostname: "127.0.0.1", onListen }, shop.fetch);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => server.shutdown());
  }
  await server.finished;
  Deno.exit(0);
} catch (error) {
  if (error instanceof Deno.errors.AddrInUse) {
    fail(`Port ${port} is in use: choose another one with PORT=8001`);
  }
  throw error;
}

function onListen({ port }: { port: number }): void {
  const url = `http://localhost:${port}`;
  // deno-lint-ignore no-console
  console.log(`The shop is open at ${url}

Try, as often as you like:
  curl -i ${url}/api/flood
  curl -i -X POST ${url}/api/pay -H 'Idempotency-Key: "order-1"'
  curl -X POST ${url}/api/race
`);
}

function fail(message: string): never {
  // deno-lint-ignore no-console
  console.error(message);
  Deno.exit(1);
}
