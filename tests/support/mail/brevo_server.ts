/** Brevo as its reference of `POST /v3/smtp/email` shows it. */
import { randomUUID } from "node:crypto";
import {
  type AcceptedMail,
  base64,
  checkHeaders,
  json,
  lowerCase,
  type Mailbox,
  type MailHandler,
  type MailServer,
  onlyKnown,
  Refusal,
  startMailServer,
} from "./http_server.ts";

/** The key it knows. */
export const BREVO_KEY = "xkeysib-test-123456";

const FIELDS = [
  "sender",
  "to",
  "cc",
  "bcc",
  "replyTo",
  "subject",
  "htmlContent",
  "textContent",
  "headers",
  "tags",
  "attachment",
  "templateId",
  "params",
  "scheduledAt",
  "batchId",
];

/** Brevo makes the media type from the name. */
const TYPES: Readonly<Record<string, string>> = { png: "image/png", ics: "text/calendar" };

/** Starts it. */
export function startBrevo(): Promise<MailServer> {
  const handle: MailHandler = (request, server) => {
    if (request.path !== "/v3/smtp/email") throw new Refusal(404, "not found", "document_not_found");
    if (request.method !== "POST") throw new Refusal(405, "method not allowed", "method_not_allowed");
    if (request.headers.get("api-key") !== BREVO_KEY) throw new Refusal(401, "Key not found", "unauthorized");
    const mail = readMail(json(request));
    if (server.refuse?.(mail)) throw new Refusal(400, `email is not valid in to`, "invalid_parameter");
    server.accepted.push(mail);
    return Promise.resolve({
      status: mail.sendAt === undefined ? 201 : 202,
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ messageId: mail.id }),
    });
  };
  return startMailServer(handle, ({ status, message, code }) => ({
    status,
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ code: code === "invalid" ? "invalid_parameter" : code, message }),
  }));
}

// deno-lint-ignore no-explicit-any
function readMail(body: any): AcceptedMail {
  onlyKnown(body, FIELDS, "the email");
  const bad = (what: string) => new Refusal(400, `${what} is missing or not valid`, "invalid_parameter");
  const people = (list: unknown, what: string): Mailbox[] => {
    if (list === undefined) return [];
    if (!Array.isArray(list) || list.length === 0 || list.length > 99) throw bad(what);
    return list.map((one) => person(one, what));
  };
  const to = people(body.to, "to");
  if (to.length === 0) throw bad("to");
  const { templateId, params, attachment = [], tags = [], scheduledAt, batchId, headers = {} } = body;
  if (templateId === undefined && (!body.subject || (!body.textContent && !body.htmlContent))) {
    throw bad("subject");
  }
  if (templateId !== undefined && !Number.isInteger(templateId)) throw bad("templateId");
  if (params !== undefined && (typeof params !== "object" || Array.isArray(params))) throw bad("params");
  if (batchId !== undefined && !/^[\da-f-]{36}$/.test(batchId)) throw bad("batchId");
  if (body.replyTo !== undefined) person(body.replyTo, "replyTo");
  checkHeaders(headers);
  const { "X-Mailin-custom": custom = "{}", ...others } = headers;
  const sendAt = scheduledAt === undefined ? undefined : Date.parse(scheduledAt);
  if (Number.isNaN(sendAt)) throw bad("scheduledAt");
  return {
    id: `<${randomUUID()}@smtp-relay.mailin.fr>`,
    from: person(body.sender, "sender"),
    to,
    cc: people(body.cc, "cc"),
    bcc: people(body.bcc, "bcc"),
    replyTo: body.replyTo === undefined ? [] : [person(body.replyTo, "replyTo")],
    subject: body.subject ?? "",
    text: body.textContent,
    html: body.htmlContent,
    headers: lowerCase(others),
    tags,
    metadata: JSON.parse(custom),
    sendAt,
    raw: undefined,
    attachments: attachment.map((file: Record<string, unknown>) => {
      onlyKnown(file, ["name", "content"], "an attachment");
      if (!file.name) throw bad("attachment.name");
      return {
        filename: String(file.name),
        contentType: TYPES[String(file.name).split(".").at(-1)!] ?? "application/octet-stream",
        contentId: undefined,
        bytes: base64(file.content, "attachment.content"),
      };
    }),
  };
}

// deno-lint-ignore no-explicit-any
function person(one: any, what: string): Mailbox {
  const bad = new Refusal(400, `email is not valid in ${what}`, "invalid_parameter");
  if (typeof one !== "object" || one === null) throw bad;
  onlyKnown(one, ["email", "name"], what);
  if (typeof one.email !== "string" || !/^(?:[^\s@<>,]+|"[^"@]*")@[a-z\d.-]+$/i.test(one.email)) throw bad;
  if (/[\p{Cc}]/u.test(one.name ?? "")) throw bad;
  return { name: one.name ?? "", address: one.email };
}
