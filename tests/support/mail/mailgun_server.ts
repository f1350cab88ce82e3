/** Mailgun as its documentation and its clients show it (research/email.md, 2.3); one region of it. */
import { randomUUID } from "node:crypto";
import {
  type AcceptedMail,
  checkHeaders,
  lowerCase,
  type MailHandler,
  type MailServer,
  Refusal,
  startMailServer,
} from "./http_server.ts";
import { checkMime, mailbox, mailboxes, parseMime } from "./parse.ts";

/** The key it knows. */
export const MAILGUN_KEY = "key-test-123456";
/** The domain it knows. */
export const MAILGUN_DOMAIN = "mg.example.com";

/** Starts it. */
export function startMailgun(): Promise<MailServer> {
  const handle: MailHandler = async (request, server) => {
    const path = /^\/v3\/([^/]+)\/(messages|messages\.mime)$/.exec(request.path);
    if (!path) throw new Refusal(404, "not found");
    if (request.method !== "POST") throw new Refusal(405, "method not allowed");
    if (request.headers.get("authorization") !== `Basic ${btoa(`api:${MAILGUN_KEY}`)}`) {
      throw new Refusal(401, "Forbidden", "plain");
    }
    if (path[1] !== MAILGUN_DOMAIN) throw new Refusal(404, "Domain not found: " + path[1]);
    if (request.body.length > 26_000_000) throw new Refusal(413, "message is too large");
    const form = await new Response(request.body, { headers: request.headers }).formData().catch(() => {
      throw new Refusal(400, "the body is no form");
    });
    const mail = path[2] === "messages" ? await readForm(form) : await readMime(form);
    if (server.refuse?.(mail)) {
      throw new Refusal(400, `to parameter is not a valid address: ${mail.to[0]?.address}`);
    }
    server.accepted.push(mail);
    return {
      status: 200,
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ id: mail.id, message: "Queued. Thank you." }),
    };
  };
  return startMailServer(
    handle,
    ({ status, message, code }) =>
      code === "plain"
        ? { status, headers: { "content-type": "text/plain" }, body: message }
        : { status, headers: { "content-type": "application/json" }, body: JSON.stringify({ message }) },
  );
}

const FIELDS =
  /^(?:from|to|cc|bcc|subject|text|html|attachment|inline|message|o:tag|o:deliverytime|h:.+|v:.+|template|t:version|o:sending-ip|o:sending-ip-pool)$/;
/** Fields with a yes or no. */
const SWITCHES =
  /^(?:t:text|o:(?:testmode|dkim|tracking|tracking-clicks|tracking-opens|require-tls|skip-verification))$/;

function common(form: FormData): Pick<AcceptedMail, "id" | "tags" | "metadata" | "sendAt"> {
  const metadata: Record<string, string> = {};
  for (const [name, value] of form) {
    if (name === "t:variables") JSON.parse(String(value));
    else if (SWITCHES.test(name)) {
      if (!/^(?:yes|no|htmlonly)$/.test(String(value))) throw new Refusal(400, name);
    } else if (!FIELDS.test(name)) throw new Refusal(400, `unknown field ${name}`);
    if (name.startsWith("v:")) metadata[name.slice(2)] = String(value);
  }
  const tags = form.getAll("o:tag").map(String);
  if (tags.length > 10 || tags.some((tag) => tag.length > 128 || /[^\0-\x7f]/.test(tag))) {
    throw new Refusal(400, "tags");
  }
  const at = form.get("o:deliverytime");
  if (at !== null && !/^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000$/.test(String(at))) {
    throw new Refusal(400, "o:deliverytime must be RFC 2822");
  }
  const sendAt = at === null ? undefined : Date.parse(String(at));
  if (sendAt !== undefined && sendAt > Date.now() + 72 * 3_600_000) {
    throw new Refusal(400, "o:deliverytime too far");
  }
  return { id: `<${randomUUID()}@${MAILGUN_DOMAIN}>`, tags, metadata, sendAt };
}

async function readForm(form: FormData): Promise<AcceptedMail> {
  const own = common(form);
  const template = form.has("template");
  for (const field of ["from", "to", ...(template ? [] : ["subject"])]) {
    if (!form.has(field)) throw new Refusal(400, `'${field}' parameter is missing`);
  }
  const text = form.get("text") as string | null ?? undefined;
  const html = form.get("html") as string | null ?? undefined;
  if (!text && !html && !template) {
    throw new Refusal(400, "Need at least one of 'text' or 'html' parameters specified");
  }
  const headers = Object.fromEntries(
    [...form].filter(([name]) => name.startsWith("h:")).map((
      [name, value],
    ) => [name.slice(2), String(value)]),
  );
  const { "Reply-To": replyTo, ...others } = headers;
  checkHeaders(others);
  const files = async (field: string) =>
    await Promise.all(
      form.getAll(field).map(async (file) => {
        if (!(file instanceof File)) throw new Refusal(400, `${field} must be a file`);
        // Mailgun names an inline part by its file name, and so must the HTML.
        return {
          filename: file.name,
          contentType: file.type,
          contentId: field === "inline" ? file.name : undefined,
          bytes: new Uint8Array(await file.arrayBuffer()),
        };
      }),
    );
  return {
    ...own,
    from: mailbox(form.get("from"), "from"),
    to: mailboxes(form.getAll("to"), "to"),
    cc: mailboxes(form.getAll("cc"), "cc"),
    bcc: mailboxes(form.getAll("bcc"), "bcc"),
    replyTo: replyTo === undefined
      ? []
      : replyTo.split(/,(?=(?:[^"]*"[^"]*")*[^"]*$)/).map((one) => mailbox(one, "reply-to")),
    subject: String(form.get("subject") ?? ""),
    text,
    html,
    headers: lowerCase(others),
    attachments: [...await files("inline"), ...await files("attachment")],
    raw: undefined,
  };
}

async function readMime(form: FormData): Promise<AcceptedMail> {
  const own = common(form);
  const file = form.get("message");
  if (!(file instanceof File)) throw new Refusal(400, "a message file is needed");
  const raw = new Uint8Array(await file.arrayBuffer());
  checkMime(raw);
  const parsed = await parseMime(raw);
  const envelope = mailboxes(form.getAll("to"), "to");
  if (envelope.length === 0) throw new Refusal(400, "'to' parameter is missing");
  const seen = new Set([...parsed.to, ...parsed.cc].map(({ address }) => address));
  const bcc = envelope.filter(({ address }) => !seen.has(address));
  return { ...parsed, ...own, bcc, envelope: envelope.map(({ address }) => address) };
}
