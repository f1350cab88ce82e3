/** Messages that use everything Resend has, sent one by one and as a bulk. */
import { type Mailer, type Message, sendBulk } from "@holdfast/edge/mail";

const plain: Message = { from: "shop@example.com", to: "jane@example.com", subject: "Hello", text: "Hello" };

const messages: readonly Message[] = [
  plain,
  {
    ...plain,
    subject: "Grüße 😀",
    html: "<p>日本語</p>",
    from: { name: 'Shop "Ü"', address: "shop@example.com" },
  },
  {
    ...plain,
    cc: ["Carl <carl@example.com>", { name: "Doe, Dana", address: "dana@example.com" }],
    bcc: "secret@example.com",
    replyTo: "help@example.com",
    headers: { "X-Order": "17" },
    tags: ["welcome"],
    metadata: { order: "17" },
    unsubscribe: { url: "https://example.com/leave" },
    sendAt: new Date("2040-01-01T00:00:00Z"),
  },
  {
    ...plain,
    html: '<img src="cid:logo@x">',
    attachments: [
      { filename: "Grüße.txt", content: "ü" },
      {
        filename: "logo.png",
        content: new Uint8Array([0, 255, 128]),
        contentType: "image/png",
        contentId: "logo@x",
      },
    ],
    calendar: { method: "REQUEST", content: "BEGIN:VCALENDAR\r\nEND:VCALENDAR" },
  },
];

/** Sends them all, with and without keys; answers how often each way worked. */
export async function sendAll(mailer: Mailer): Promise<{ sent: number }> {
  let sent = 0;
  for (const [i, message] of messages.entries()) {
    // A time more than 30 days ahead is refused before it is sent.
    const soon = message.sendAt
      ? { ...message, sendAt: new Date(Math.ceil(Date.now() / 86_400_000) * 86_400_000) }
      : message;
    await mailer.send(soon);
    await mailer.send(soon, { idempotencyKey: `${crypto.randomUUID()}-${i}` });
    sent += 2;
  }
  const bulk = messages.map((message) => ({ ...message, sendAt: undefined }));
  for await (const { state } of sendBulk(mailer, bulk)) sent += Number(state === "sent");
  const idempotencyKey = (_: Message, index: number) => `bulk-${sent}-${index}`;
  for await (const { state } of sendBulk(mailer, bulk, { idempotencyKey })) sent += Number(state === "sent");
  return { sent };
}
