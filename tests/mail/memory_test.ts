/**
 * The memory that a file of 20 MB takes beside the caller's own copy, for every mailer, in a process of its
 * own.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { assert } from "../support/assert.ts";
import { report } from "../support/report.ts";
import { HTTP_MAILERS } from "./_mailers.ts";

const USUAL = 20_000_000;

/** The limit of this project's own: a copy of the file, and less than it once more in whatever form. */
const FACTOR = 2.5;

/** Less than the provider's limit: the file in base64 must fit. */
const SIZES: Readonly<Record<string, number>> = {
  "mailgun, MIME": 18_000_000,
  "cloudflare": 18_000_000,
  "brevo": 14_000_000,
  "postmark": 7_000_000,
};

const MAILERS = [...HTTP_MAILERS, "smtp", "smtp, DKIM"];

/** Takes requests of any size, counts their bytes and keeps none. */
async function startSink() {
  const received: number[] = [];
  const http = createServer((incoming, outgoing) => {
    let size = 0;
    incoming.on("data", (chunk) => size += chunk.length);
    incoming.on("end", () => {
      received.push(size);
      const status = incoming.url!.startsWith("/v3/mail/send")
        ? 202
        : incoming.url === "/v3/smtp/email"
        ? 201
        : 200;
      outgoing.writeHead(status, { "x-message-id": "1", "content-type": "application/json" });
      outgoing.end(status === 202 ? "" : '{"id":"1","MessageId":"1","MessageID":"1","messageId":"1"}');
    });
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const serving = (async () => {
    const connections: Promise<void>[] = [];
    for await (const connection of listener) connections.push(smtpSink(connection, received));
    await Promise.all(connections);
  })();
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    port: (listener.addr as Deno.NetAddr).port,
    received,
    async [Symbol.asyncDispose]() {
      listener.close();
      await serving;
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

async function smtpSink(connection: Deno.TcpConn, received: number[]): Promise<void> {
  const say = (text: string) => connection.write(new TextEncoder().encode(`${text}\r\n`));
  const buffer = new Uint8Array(256 * 1024);
  let size: number | undefined;
  let tail = "";
  await say("220 sink");
  for (let count; (count = await connection.read(buffer).catch(() => null)) !== null;) {
    tail = (tail + new TextDecoder("latin1").decode(buffer.subarray(Math.max(0, count - 4096), count))).slice(
      -4096,
    );
    if (size !== undefined) {
      size += count;
      if (!tail.endsWith("\r\n.\r\n")) continue;
      received.push(size);
      size = undefined;
      await say("250 ok");
    } else if (tail.endsWith("DATA\r\n")) {
      size = 0;
      await say("354 go");
    } else if (tail.endsWith("QUIT\r\n")) break;
    else await say("250 ok");
    tail = "";
  }
  connection.close();
}

for (const name of MAILERS) {
  const size = SIZES[name] ?? USUAL;
  Deno.test({
    name: `${name}: a file of ${size / 1e6} MB takes at most ${FACTOR} times its size`,
    ignore: Deno.build.os !== "linux",
    async fn() {
      await using sink = await startSink();
      const child = new Deno.Command(Deno.execPath(), {
        args: [
          "run",
          "-A",
          "--no-check",
          "--quiet",
          "--v8-flags=--expose-gc",
          new URL("./_memory_child.ts", import.meta.url).pathname,
          name,
          sink.url,
          String(sink.port),
          String(size),
        ],
        stderr: "inherit",
      });
      const { stdout, success } = await child.output();
      assert(success, "the child failed");
      const { grown } = JSON.parse(new TextDecoder().decode(stdout)) as { grown: number };
      report(
        `${name}: ${(grown / 1e6).toFixed(1)} MB for a file of ${size / 1e6} MB: ${
          (grown / size).toFixed(2)
        } times`,
      );
      assert(sink.received.at(-1)! >= size, "the whole file arrived");
      assert(grown <= FACTOR * size, `${grown} bytes`);
    },
  });
}
