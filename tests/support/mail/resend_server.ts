/** Resend as its documentation, its OpenAPI description and its SDK show it (research/email.md, 2.1). */
import { createHash, randomUUID } from "node:crypto";
import {
  type AcceptedMail,
  base64,
  checkHeaders,
  json,
  lowerCase,
  type MailHandler,
  type MailReply,
  type MailRequest,
  type MailServer,
  onlyKnown,
  Refusal,
  startMailServer,
} from "./http_server.ts";
import { mailbox, mailboxes } from "./parse.ts";

/** The key it knows. */
export const RESEND_KEY = "re_test_123456";

const FIELDS = [
  "from",
  "to",
  "cc",
  "bcc",
  "reply_to",
  "subject",
  "text",
  "html",
  "headers",
  "tags",
  "attachments",
  "scheduled_at",
  "template",
  "topic_id",
];

/** Starts it. */
export function startResend(): Promise<MailServer> {
  const known = new Map<string, { readonly hash: string; readonly reply: MailReply | undefined }>();
  const handle: MailHandler = async (request, server) => {
    if (request.path !== "/emails" && request.path !== "/emails/batch") {
      throw new Refusal(404, "not found", "not_found");
    }
    if (request.method !== "POST") throw new Refusal(405, "method not allowed", "method_not_allowed");
    const auth = request.headers.get("authorization");
    if (!auth) throw new Refusal(401, "Missing API key in the authorization header", "missing_api_key");
    if (auth !== `Bearer ${RESEND_KEY}`) throw new Refusal(403, "API key is invalid", "invalid_api_key");
    if (!request.headers.get("user-agent")) {
      throw new Refusal(403, "a User-Agent must be there", "validation_error");
    }
    const key = request.headers.get("idempotency-key");
    if (key === null) return await take(request, server);
    if (key.length < 1 || key.length > 256) {
      throw new Refusal(400, "1 to 256 characters", "invalid_idempotency_key");
    }
    const hash = createHash("sha256").update(request.path).update(request.body).digest("hex");
    const before = known.get(key);
    if (before && before.hash !== hash) {
      throw new Refusal(409, "another payload", "invalid_idempotent_request");
    }
    if (before) {
      if (!before.reply) throw new Refusal(409, "it is under way", "concurrent_idempotent_requests");
      return before.reply;
    }
    known.set(key, { hash, reply: undefined });
    try {
      const reply = await take(request, server);
      known.set(key, { hash, reply });
      return reply;
    } catch (error) {
      known.delete(key);
      throw error;
    }
  };
  return startMailServer(handle, ({ status, code, message }) => ({
    status,
    headers: HEADERS,
    body: JSON.stringify({
      statusCode: status,
      name: code === "invalid" ? "validation_error" : code,
      message,
    }),
  }));
}

const HEADERS = {
  "content-type": "application/json; charset=utf-8",
  "ratelimit-limit": "10",
  "ratelimit-remaining": "9",
  "ratelimit-reset": "1",
};

function take(request: MailRequest, server: Pick<MailServer, "accepted" | "refuse">): Promise<MailReply> {
  const body = json(request);
  const reply = (value: unknown): Promise<MailReply> =>
    Promise.resolve({ status: 200, headers: HEADERS, body: JSON.stringify(value) });
  const read = (entry: unknown) => {
    const mail = readMail(entry);
    if (server.refuse?.(mail)) throw new Refusal(422, `we refuse ${mail.to[0]?.address}`, "validation_error");
    return mail;
  };
  if (request.path === "/emails") {
    const mail = read(body);
    server.accepted.push(mail);
    return reply({ id: mail.id });
  }
  if (!Array.isArray(body) || body.length === 0) {
    throw new Refusal(422, "an array is needed", "invalid_parameter");
  }
  if (body.length > 100) throw new Refusal(422, "Batch size cannot exceed 100 emails", "validation_error");
  const permissive = request.headers.get("x-batch-validation") === "permissive";
  const mails: AcceptedMail[] = [];
  const errors: { index: number; message: string }[] = [];
  body.forEach((entry, index) => {
    try {
      if (entry?.attachments) {
        throw new Refusal(422, "attachments are not supported in batches", "validation_error");
      }
      mails.push(read(entry));
    } catch (error) {
      if (!permissive || !(error instanceof Refusal)) throw error;
      errors.push({ index, message: error.message });
    }
  });
  server.accepted.push(...mails);
  return reply({ data: mails.map(({ id }) => ({ id })), ...(permissive && { errors }) });
}

// deno-lint-ignore no-explicit-any
function readMail(body: any): AcceptedMail {
  if (typeof body !== "object" || body === null) {
    throw new Refusal(422, "an object is needed", "invalid_parameter");
  }
  onlyKnown(body, FIELDS, "the email");
  const { template } = body;
  if (template !== undefined) {
    onlyKnown(template, ["id", "variables"], "the template");
    if (typeof template.id !== "string") throw new Refusal(422, "template.id", "missing_required_field");
    if (body.text || body.html) throw new Refusal(422, "a template and a body", "validation_error");
  }
  for (const field of template ? ["to"] : ["from", "to", "subject"]) {
    if (body[field] === undefined) {
      throw new Refusal(422, `Missing required field: ${field}`, "missing_required_field");
    }
  }
  const { text, html, headers = {}, tags = [], attachments = [], scheduled_at } = body;
  if (!text && !html && !template) {
    throw new Refusal(422, "Missing required field: html or text", "missing_required_field");
  }
  for (const field of ["to", "cc", "bcc"]) {
    if (Array.isArray(body[field]) && (body[field].length < 1 || body[field].length > 50)) {
      throw new Refusal(422, `The ${field} field must have 1 to 50 addresses`, "validation_error");
    }
  }
  checkHeaders(headers);
  for (const { name, value } of tags) {
    if (!/^[A-Za-z0-9_-]{1,256}$/.test(name) || !/^[A-Za-z0-9_-]{1,256}$/.test(value)) {
      throw new Refusal(
        422,
        "Tags should only contain ASCII letters, numbers, underscores, or dashes",
        "invalid",
      );
    }
  }
  const pairs = tags as { name: string; value: string }[];
  const sendAt = scheduled_at === undefined ? undefined : Date.parse(scheduled_at);
  if (Number.isNaN(sendAt)) throw new Refusal(422, "scheduled_at is not valid", "validation_error");
  return {
    id: randomUUID(),
    from: mailbox(body.from, "from"),
    to: mailboxes(body.to, "to"),
    cc: mailboxes(body.cc, "cc"),
    bcc: mailboxes(body.bcc, "bcc"),
    replyTo: mailboxes(body.reply_to, "reply_to"),
    subject: body.subject ?? "",
    text,
    html,
    headers: lowerCase(headers),
    tags: pairs.filter(({ value }) => value === "true").map(({ name }) => name),
    metadata: Object.fromEntries(
      pairs.filter(({ value }) => value !== "true").map(({ name, value }) => [name, value]),
    ),
    sendAt,
    raw: undefined,
    attachments: attachments.map((file: Record<string, unknown>) => {
      onlyKnown(file, ["filename", "content", "content_type", "content_id"], "an attachment");
      if (typeof file.filename !== "string") {
        throw new Refusal(422, "a filename is needed", "invalid_attachment");
      }
      if (String(file.content_id ?? "").length >= 128) {
        throw new Refusal(422, "content_id", "invalid_attachment");
      }
      return {
        filename: file.filename,
        contentType: String(file.content_type),
        contentId: file.content_id as string | undefined,
        bytes: base64(file.content, "content"),
      };
    }),
  };
}
