/** SendGrid v3 as its OpenAPI description and its documentation show it (research/email.md, 2.2). */
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
export const SENDGRID_KEY = "SG.test.123456";

const FIELDS = [
  "personalizations",
  "from",
  "reply_to",
  "reply_to_list",
  "subject",
  "content",
  "attachments",
  "headers",
  "categories",
  "custom_args",
  "send_at",
  "template_id",
  "asm",
  "mail_settings",
  "tracking_settings",
  "ip_pool_name",
  "batch_id",
];
const RESERVED =
  /^(?:x-sg-id|x-sg-eid|received|dkim-signature|content-type|content-transfer-encoding|to|from|subject|reply-to|cc|bcc)$/i;

/** Starts it. */
export function startSendGrid(): Promise<MailServer> {
  const handle: MailHandler = (request, server) => {
    if (request.path !== "/v3/mail/send") throw new Refusal(404, "not found");
    if (request.method !== "POST") throw new Refusal(405, "method not allowed");
    if (request.headers.get("authorization") !== `Bearer ${SENDGRID_KEY}`) {
      throw new Refusal(401, "The provided authorization grant is invalid, expired, or revoked");
    }
    if (request.body.length > 30_000_000) throw new Refusal(413, "the request is too large");
    const mail = readMail(json(request));
    if (server.refuse?.(mail)) {
      throw new Refusal(400, `we refuse ${mail.to[0]?.address}`, "personalizations.0.to.0.email");
    }
    server.accepted.push(mail);
    return Promise.resolve({ status: 202, headers: { "x-message-id": mail.id } });
  };
  return startMailServer(handle, ({ status, message, code }) => ({
    status,
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ errors: [{ message, field: code || null, help: null }] }),
  }));
}

// deno-lint-ignore no-explicit-any
function readMail(body: any): AcceptedMail {
  onlyKnown(body, FIELDS, "the mail");
  if (body.personalizations?.length !== 1) throw new Refusal(400, "personalizations", "personalizations");
  if (body.reply_to && body.reply_to_list) throw new Refusal(400, "reply_to and reply_to_list", "reply_to");
  readSettings(body);
  const template = body.template_id !== undefined;
  if (
    (body.subject !== undefined || !template) && (typeof body.subject !== "string" || body.subject === "")
  ) {
    throw new Refusal(400, "a subject is needed", "subject");
  }
  const [personalization] = body.personalizations;
  onlyKnown(personalization, ["to", "cc", "bcc", "dynamic_template_data"], "the personalization");
  if (personalization.dynamic_template_data && !/^d-/.test(body.template_id)) {
    throw new Refusal(400, "dynamic_template_data needs a dynamic template", "template_id");
  }
  const to = people(personalization.to, "to");
  const cc = people(personalization.cc ?? [], "cc");
  const bcc = people(personalization.bcc ?? [], "bcc");
  if (to.length === 0) throw new Refusal(400, "to needs at least one", "personalizations.0.to");
  const all = [...to, ...cc, ...bcc].map(({ address }) => address.toLowerCase());
  if (all.length > 1000) throw new Refusal(400, "more than 1000 recipients", "personalizations");
  if (new Set(all).size < all.length) {
    throw new Refusal(400, "each address must be unique", "personalizations.0");
  }
  const content: { type: string; value: string }[] = body.content ?? [];
  const order = ["text/plain", "text/html", "text/calendar"];
  if (content.length === 0 && (!template || body.content)) {
    throw new Refusal(400, "content is needed", "content");
  }
  content.forEach(({ type, value }, i) => {
    if (typeof value !== "string" || value === "") throw new Refusal(400, "content.value", "content");
    if (!order.includes(type) || (i > 0 && order.indexOf(content[i - 1]!.type) >= order.indexOf(type))) {
      throw new Refusal(400, "content.type", "content");
    }
  });
  const { headers = {}, categories = [], custom_args = {}, attachments = [], send_at } = body;
  checkHeaders(headers);
  if (Object.keys(headers).some((name) => RESERVED.test(name))) {
    throw new Refusal(400, "a reserved header", "headers");
  }
  if (categories.length > 10 || new Set(categories).size < categories.length) {
    throw new Refusal(400, "categories");
  }
  if (categories.some((name: string) => name.length > 255)) throw new Refusal(400, "categories");
  if (JSON.stringify(custom_args).length >= 10_000) throw new Refusal(400, "custom_args");
  if (send_at !== undefined && (!Number.isInteger(send_at) || send_at * 1000 > Date.now() + 72 * 3_600_000)) {
    throw new Refusal(400, "send_at", "send_at");
  }
  return {
    id: randomUUID(),
    from: person(body.from, "from"),
    to,
    cc,
    bcc,
    replyTo: people(body.reply_to_list ?? (body.reply_to ? [body.reply_to] : []), "reply_to"),
    subject: body.subject ?? "",
    text: content.find(({ type }) => type === "text/plain")?.value,
    html: content.find(({ type }) => type === "text/html")?.value,
    headers: lowerCase(headers),
    tags: categories,
    metadata: custom_args,
    sendAt: send_at === undefined ? undefined : send_at * 1000,
    raw: undefined,
    attachments: attachments.map((file: Record<string, unknown>) => {
      onlyKnown(file, ["content", "filename", "type", "disposition", "content_id"], "an attachment");
      if (!file.filename || !file.content) throw new Refusal(400, "attachments", "attachments");
      if (/[;\r\n]/.test(String(file.type))) throw new Refusal(400, "attachments.type", "attachments");
      if ((file.disposition === "inline") !== (file.content_id !== undefined)) {
        throw new Refusal(400, "disposition");
      }
      return {
        filename: String(file.filename),
        contentType: String(file.type),
        contentId: file.content_id as string | undefined,
        bytes: base64(file.content, "attachments.content"),
      };
    }),
  };
}

/** The settings of an account that a request may change. */
// deno-lint-ignore no-explicit-any
function readSettings(body: any): void {
  const { asm, mail_settings, tracking_settings, ip_pool_name, batch_id, template_id } = body;
  if (asm !== undefined) {
    onlyKnown(asm, ["group_id", "groups_to_display"], "asm");
    if (!Number.isInteger(asm.group_id)) throw new Refusal(400, "asm.group_id", "asm.group_id");
  }
  onlyKnown(mail_settings ?? {}, [
    "bypass_list_management",
    "bypass_spam_management",
    "bypass_bounce_management",
    "bypass_unsubscribe_management",
    "footer",
    "sandbox_mode",
  ], "mail_settings");
  onlyKnown(
    tracking_settings ?? {},
    ["click_tracking", "open_tracking", "subscription_tracking", "ganalytics"],
    "tracking_settings",
  );
  for (const group of Object.values({ ...mail_settings, ...tracking_settings })) {
    if (typeof (group as { enable: unknown }).enable !== "boolean") throw new Refusal(400, "enable");
  }
  for (const text of [ip_pool_name, batch_id, template_id]) {
    if (text !== undefined && (typeof text !== "string" || text === "")) throw new Refusal(400, "a setting");
  }
}

function people(list: unknown, what: string): Mailbox[] {
  if (!Array.isArray(list)) throw new Refusal(400, what, what);
  return list.map((one) => {
    const found = person(one, what);
    // SendGrid splits names at these unless they are quoted; the quotes are not part of the name.
    const quoted = /^"((?:[^"\\]|\\.)*)"$/.exec(found.name);
    if (quoted) return { ...found, name: quoted[1]!.replace(/\\(.)/g, "$1") };
    if (/[;,]/.test(found.name)) throw new Refusal(400, "a name cannot contain ';' or ','", what);
    return found;
  });
}

// deno-lint-ignore no-explicit-any
function person(one: any, what: string): Mailbox {
  if (typeof one !== "object" || one === null) throw new Refusal(400, what, what);
  onlyKnown(one, ["email", "name"], what);
  if (typeof one.email !== "string" || !/^(?:[^\s@<>,]+|"[^"@]*")@[a-z\d.-]+$/i.test(one.email)) {
    throw new Refusal(400, "Does not contain a valid address.", `${what}.email`);
  }
  if (/[\p{Cc}]/u.test(one.name ?? "")) throw new Refusal(400, "name", `${what}.name`);
  return { name: one.name ?? "", address: one.email };
}
