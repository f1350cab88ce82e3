/** One runtime's part of bench/mail.ts: both clients in turns; prints how long each took, in milliseconds a message. */
import nodemailer from "nodemailer";

const { bundle, ca, cases, rounds } = JSON.parse(globalThis.Deno?.args[0] ?? process.argv[2]);
const { denoConnector, nodeConnector, sendBulk, smtpMailer } = await import(bundle);
const CONNECTIONS = 5;

for (const { name, port, security, messages, bytes } of cases) {
  const content = crypto.getRandomValues(new Uint8Array(Math.min(bytes, 65536)));
  const file = new Uint8Array(bytes).map((_, i) => content[i % content.length]);
  const message = {
    from: "Jane <jane@example.com>",
    to: "john@example.com",
    subject: "Your order",
    text: "It is on its way. Grüße!\n".repeat(20),
    html: "<p>It is on its way. Grüße!</p>\n".repeat(20),
    attachments: bytes === 0 ? [] : [{ filename: "order.pdf", content: file }],
  };
  const theirMessage = {
    ...message,
    attachments: message.attachments.map(({ filename, content }) => ({
      filename,
      content: Buffer.from(content),
    })),
  };
  const ours = smtpMailer({
    host: "localhost",
    port,
    security,
    maxConnections: CONNECTIONS,
    maxMessages: 1_000_000,
    connector: globalThis.Deno ? denoConnector({ caCerts: [ca] }) : nodeConnector({ ca: [ca] }),
  });
  const theirs = nodemailer.createTransport({
    host: "localhost",
    port,
    pool: true,
    maxConnections: CONNECTIONS,
    maxMessages: 1_000_000,
    secure: security === "tls",
    ignoreTLS: security === "none",
    tls: { ca },
  });
  const run = {
    async holdfast(count) {
      const results = sendBulk(ours, Array(count).fill(message), { concurrency: CONNECTIONS });
      for await (const { error } of results) if (error) throw error;
    },
    async nodemailer(count) {
      // Its pool queues whatever it is given.
      await Promise.all(Array.from({ length: count }, () => theirs.sendMail(theirMessage)));
    },
  };
  const times = { holdfast: [], nodemailer: [] };
  for (const client of Object.keys(run)) await run[client](50);
  for (let round = 0; round < rounds; round++) {
    for (const client of round % 2 ? ["holdfast", "nodemailer"] : ["nodemailer", "holdfast"]) {
      const began = performance.now();
      await run[client](messages);
      times[client].push((performance.now() - began) / messages);
    }
  }
  await ours.close();
  theirs.close();
  // deno-lint-ignore no-console
  console.log(JSON.stringify({ name, times }));
}
