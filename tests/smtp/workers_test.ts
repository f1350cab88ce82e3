/** The difference on Workers: a socket belongs to a request, and one mailer serves many of them. */
import { assertEquals } from "../support/assert.ts";
import { startSmtpServers } from "../support/smtp/smtp_servers.ts";
import { startWorkerd, workerdTest } from "../support/workerd.ts";

workerdTest("workerd: one mailer for all requests, a socket for each, shared within a sendBulk", async () => {
  await using servers = await startSmtpServers([{ security: "none" }]);
  await using worker = await startWorkerd({
    script: `
      import { connect } from "cloudflare:sockets";
      import { sendBulk } from "@holdfast/edge/mail";
      import { cloudflareConnector, smtpMailer } from "@holdfast/edge/smtp";
      const mailer = smtpMailer({
        host: "127.0.0.1",
        port: ${servers.ports[0]},
        security: "none",
        connector: cloudflareConnector(connect),
      });
      const message = { from: "jane@example.com", to: "john@example.com", subject: "Hello", text: "Hello" };
      export default {
        async fetch(request) {
          const count = Number(new URL(request.url).searchParams.get("bulk"));
          if (count === 0) return Response.json([(await mailer.send(message)).id]);
          const ids = [];
          for await (const { receipt } of sendBulk(mailer, Array(count).fill(message), { concurrency: 2 })) {
            ids.push(receipt.id);
          }
          return Response.json(ids);
        },
      };`,
  });
  for (let i = 0; i < 3; i++) {
    assertEquals(await (await fetch(worker.url)).json(), ["TEST123"]);
  }
  const together = await Promise.all(
    Array.from({ length: 5 }, async () => await (await fetch(worker.url)).json()),
  );
  assertEquals(together, Array(5).fill(["TEST123"]));
  const bulk = await (await fetch(`${worker.url}/?bulk=30`)).json();
  assertEquals(bulk, Array(30).fill("TEST123"));
  const taken = await servers.taken(38);
  const connections = (part: typeof taken) => new Set(part.map(({ connection }) => connection)).size;
  assertEquals([connections(taken.slice(0, 8)), connections(taken.slice(8))], [8, 2]);
});
