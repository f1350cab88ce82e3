/** A mailer as a user of ours writes one, by the public kit alone: a test counts its lines. */
import {
  Base64Content,
  fetchExchange,
  formatAddress,
  httpMailer,
  jsonRequest,
  type Mailer,
  type PreparedMessage,
  wireFiles,
  wireHeaders,
} from "@holdfast/edge/mail";
import { POSTMARK_TOKEN } from "./postmark_server.ts";

/** Sends by Postmark. */
export function kitMailer(baseUrl: string): Mailer {
  const headers = { "x-postmark-server-token": POSTMARK_TOKEN, accept: "application/json" };
  const addresses = (list: PreparedMessage["to"]) => list.map(formatAddress).join(", ") || undefined;
  return httpMailer({
    name: "postmark",
    maxBytes: 10_000_000,
    maxRecipients: 50,
    success: [200],
    exchange: fetchExchange("https://api.postmarkapp.com", { baseUrl }, headers),
    id: ({ json }) => json?.MessageID,
    request: async (message) =>
      jsonRequest("/email", {
        From: formatAddress(message.from),
        To: addresses(message.to),
        Cc: addresses(message.cc),
        Bcc: addresses(message.bcc),
        ReplyTo: addresses(message.replyTo),
        Subject: message.subject,
        TextBody: message.text,
        HtmlBody: message.html,
        Tag: message.tags[0],
        Metadata: message.metadata,
        Headers: wireHeaders(message, "postmark").map(([Name, Value]) => ({ Name, Value })),
        Attachments: (await wireFiles(message, "postmark")).map((file) => ({
          Name: file.filename,
          ContentType: file.contentType,
          Content: new Base64Content(file.bytes),
          ContentID: file.contentId && `cid:${file.contentId}`,
        })),
      }),
  });
}
