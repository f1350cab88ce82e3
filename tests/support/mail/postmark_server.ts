/** Postmark as its documentation of the email API and of its error codes shows it. */
import { randomUUID } from "node:crypto";
import {
  type AcceptedMail,
  base64,
  checkHeaders,
  json,
  lowerCase,
  type MailHandler,
  type MailServer,
  onlyKnown,
  Refusal,
  startMailServer,
} from "./http_server.ts";
import { mailbox } from "./parse.ts";

/** The token it knows. */
export const POSTMARK_TOKEN = "postmark-test-123456";

const FIELDS = [
  "From",
  "To",
  "Cc",
  "Bcc",
  "Subject",
  "Tag",
  "HtmlBody",
  "TextBody",
  "ReplyTo",
  "Headers",
  "TrackOpens",
  "TrackLinks",
  "Metadata",
  "Attachments",
  "MessageStream",
];
const TEMPLATE = ["TemplateId", "TemplateAlias", "TemplateModel", "InlineCss"];

/** Starts it. */
export function startPostmark(): Promise<MailServer> {
  const handle: MailHandler = (request, server) => {
    const template = request.path === "/email/withTemplate";
    if (request.path !== "/email" && !template) throw new Refusal(404, "not found", "404");
    if (request.method !== "POST") throw new Refusal(405, "method not allowed", "405");
    if (request.headers.get("accept") !== "application/json") throw new Refusal(406, "accept", "406");
    if (request.headers.get("x-postmark-server-token") !== POSTMARK_TOKEN) {
      throw new Refusal(401, "Request does not contain a valid Server token.", "10");
    }
    if (request.body.length > 10 * 1024 * 1024) throw new Refusal(413, "Payload too large", "413");
    const mail = readMail(json(request), template);
    if (server.refuse?.(mail)) throw new Refusal(422, `Illegal address ${mail.to[0]?.address}`, "300");
    server.accepted.push(mail);
    const body = {
      To: "",
      SubmittedAt: new Date().toISOString(),
      MessageID: mail.id,
      ErrorCode: 0,
      Message: "OK",
    };
    return Promise.resolve({
      status: 200,
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  };
  return startMailServer(handle, ({ status, message, code }) => ({
    status,
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ErrorCode: Number(code) || 300, Message: message }),
  }));
}

/** A list of addresses in one string. */
function list(text: unknown, what: string): AcceptedMail["to"] {
  if (text === undefined) return [];
  if (typeof text !== "string" || text === "") throw new Refusal(422, what, "300");
  // Quoted names may hold commas, and quotes behind a backslash.
  const parts = text.match(/(?:"(?:[^"\\]|\\.)*"|[^",])+/g) ?? [];
  return parts.map((one) => mailbox(one.trim(), what));
}

// deno-lint-ignore no-explicit-any
function readMail(body: any, template: boolean): AcceptedMail {
  onlyKnown(body, template ? [...FIELDS, ...TEMPLATE] : FIELDS, "the email");
  const [to, cc, bcc] = [list(body.To, "To"), list(body.Cc, "Cc"), list(body.Bcc, "Bcc")];
  if (to.length === 0) throw new Refusal(422, "Zero recipients specified", "300");
  if (to.length + cc.length + bcc.length > 50) throw new Refusal(422, "Maximum of 50 recipients", "300");
  if (template) {
    if (!body.TemplateId === !body.TemplateAlias) {
      throw new Refusal(422, "TemplateId or TemplateAlias", "403");
    }
    if (typeof body.TemplateModel !== "object") throw new Refusal(422, "TemplateModel", "403");
    if (body.Subject || body.TextBody || body.HtmlBody) {
      throw new Refusal(422, "a template and a body", "403");
    }
  } else if (!body.Subject || (!body.TextBody && !body.HtmlBody)) {
    throw new Refusal(422, "Subject and TextBody or HtmlBody are needed", "300");
  }
  if (body.TrackLinks && !["None", "HtmlAndText", "HtmlOnly", "TextOnly"].includes(body.TrackLinks)) {
    throw new Refusal(422, "TrackLinks", "300");
  }
  const headers = Object.fromEntries(
    (body.Headers ?? []).map((header: Record<string, string>) => {
      onlyKnown(header, ["Name", "Value"], "a header");
      return [header.Name, header.Value];
    }),
  );
  checkHeaders(headers);
  return {
    id: randomUUID(),
    from: mailbox(body.From, "From"),
    to,
    cc,
    bcc,
    replyTo: list(body.ReplyTo, "ReplyTo"),
    subject: body.Subject ?? "",
    text: body.TextBody,
    html: body.HtmlBody,
    headers: lowerCase(headers),
    tags: body.Tag === undefined ? [] : [body.Tag],
    metadata: body.Metadata ?? {},
    sendAt: undefined,
    raw: undefined,
    attachments: (body.Attachments ?? []).map((file: Record<string, unknown>) => {
      onlyKnown(file, ["Name", "Content", "ContentType", "ContentID"], "an attachment");
      const id = file.ContentID as string | undefined;
      if (!file.Name || (id !== undefined && !id.startsWith("cid:"))) {
        throw new Refusal(422, "Attachments", "300");
      }
      return {
        filename: String(file.Name),
        contentType: String(file.ContentType),
        contentId: id?.slice(4),
        bytes: base64(file.Content, "Content"),
      };
    }),
  };
}
