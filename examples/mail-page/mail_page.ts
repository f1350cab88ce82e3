/**
 * A page that shows what a memory mailer would have sent, for development: rendered HTML in a frame without
 * rights, text, headers, source, files, and a search. It keeps nothing and has no script.
 *
 *     const mailer = memoryMailer();
 *     const page = mailPage(mailer, { path: "/mail" });
 *     Deno.serve((request) => page(request) ?? app(request));
 */
import { formatAddress, type MemoryMailer, type SentMail } from "@holdfast/edge/mail";

/** Options of {@linkcode mailPage}. */
export interface MailPageOptions {
  /**
   * The path under which the page stands.
   * @default {"/mail"}
   */
  readonly path?: string | undefined;
}

/** Answers requests under the page's path; `undefined` for all others. */
export function mailPage(
  mailer: MemoryMailer,
  { path = "/mail" }: MailPageOptions = {},
): (request: Request) => Response | Promise<Response> | undefined {
  return (request) => {
    const url = new URL(request.url);
    if (url.pathname !== path && !url.pathname.startsWith(`${path}/`)) return undefined;
    if (request.method !== "GET") {
      return new Response("Only GET\n", { status: 405, headers: { allow: "GET" } });
    }
    const [, number, view, file] = url.pathname.slice(path.length).split("/");
    if (!number) return listPage(mailer.outbox, url.searchParams.get("q") ?? "", path);
    const mail = /^\d{1,9}$/.test(number) ? mailer.outbox[Number(number)] : undefined;
    if (!mail) return new Response("No such message\n", { status: 404 });
    switch (view ?? "") {
      case "":
        return messagePage(mail, `${path}/${number}`, path);
      case "html":
        return framed(mail);
      case "source":
        return text(new TextDecoder().decode(mail.mime.bytes));
      case "files":
        return download(mail, Number(file));
      default:
        return new Response("No such view\n", { status: 404 });
    }
  };
}

/** No script, no request to anywhere: what a message holds came from elsewhere. */
const PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; frame-ancestors 'self'";
/** The frame's own: pictures inside the message alone, and no origin, as the response header says, too. */
const FRAME_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox";

const STYLE = `body{font:15px/1.5 system-ui;margin:2rem auto;max-width:60rem;padding:0 1rem}
table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ddd;padding:.3rem;text-align:left}
iframe{border:1px solid #ccc;height:24rem;width:100%}pre{background:#f6f6f6;overflow:auto;padding:1rem}`;

function listPage(outbox: readonly SentMail[], query: string, path: string): Response {
  const rows = outbox.map((mail, i) => ({ mail, i })).filter(({ mail }) => matches(mail, query)).reverse();
  const list = rows.map(({ mail: { message, sentAt }, i }) => {
    const to = [...message.to, ...message.cc, ...message.bcc].map(formatAddress).join(", ");
    const time = new Date(sentAt).toISOString().slice(0, 19);
    return `<tr><td><a href="${path}/${i}">${escaped(message.subject || "(a template)")}</a>` +
      `<td>${escaped(to)}<td>${time}`;
  });
  return page(
    "Mail",
    `<h1>Mail</h1><form><input name="q" value="${
      escaped(query)
    }" placeholder="Search"> <button>Search</button></form>
<p>${rows.length} of ${outbox.length} messages
<table><tr><th>Subject<th>To<th>Sent${list.join("")}</table>`,
  );
}

/** Whether each word of the query is in the subject, the addresses or the text. */
function matches({ message }: SentMail, query: string): boolean {
  const { from, to, cc, bcc, subject, text = "", html = "" } = message;
  const people = [from, ...to, ...cc, ...bcc].map(formatAddress);
  const all = [subject, ...people, text, html].join("\n").toLowerCase();
  return query.toLowerCase().split(/\s+/).every((word) => all.includes(word));
}

function messagePage({ message, mime }: SentMail, own: string, path: string): Response {
  const { subject, text: plain, html, attachments, provider } = message;
  const head = new TextDecoder().decode(mime.bytes).split("\r\n\r\n", 1)[0]!;
  const files = attachments.map(({ filename, contentType }, i) =>
    `<li><a href="${own}/files/${i}">${escaped(filename)}</a> ${escaped(contentType)}`
  );
  return page(
    subject || "A template",
    `<p><a href="${path}">All messages</a><h1>${escaped(subject || "(a template)")}</h1>
${html === undefined ? "" : `<h2>HTML</h2><iframe sandbox title="HTML" src="${own}/html"></iframe>`}
${plain === undefined ? "" : `<h2>Text</h2><pre>${escaped(plain)}</pre>`}
${files.length === 0 ? "" : `<h2>Files</h2><ul>${files.join("")}</ul>`}
${provider ? `<h2>Options</h2><pre>${escaped(JSON.stringify(provider, null, 2))}</pre>` : ""}
<h2>Envelope</h2><pre>${escaped(`${mime.envelope.from}\n${mime.envelope.to.join("\n")}`)}</pre>
<h2>Headers</h2><pre>${escaped(head)}</pre><p><a href="${own}/source">Source</a>`,
  );
}

/** The message's HTML, with the pictures that it refers to by content id inside. */
async function framed({ message }: SentMail): Promise<Response> {
  let html = message.html ?? "";
  for (const { contentId, contentType, content } of message.attachments) {
    if (contentId === undefined) continue;
    const bytes = await content();
    let binary = "";
    for (const byte of bytes) binary += String.fromCharCode(byte);
    // Only a picture is put in, whatever the message calls its file.
    const type = /^image\/[\w.+-]+$/.test(contentType) ? contentType : "image/png";
    html = html.replaceAll(`cid:${contentId}`, `data:${type};base64,${btoa(binary)}`);
  }
  return new Response(html, {
    headers: {
      ...ALWAYS,
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": FRAME_POLICY,
    },
  });
}

async function download({ message }: SentMail, index: number): Promise<Response> {
  const file = message.attachments[index];
  if (!file) return new Response("No such file\n", { status: 404 });
  const name = `attachment; filename*=utf-8''${encodeURIComponent(file.filename)}`;
  return new Response(await file.content(), {
    headers: { ...ALWAYS, "content-type": "application/octet-stream", "content-disposition": name },
  });
}

const ALWAYS = {
  "x-content-type-options": "nosniff",
  "cache-control": "no-store",
  "referrer-policy": "no-referrer",
};

function page(title: string, body: string): Response {
  const html = `<!doctype html><html lang="en"><meta charset="utf-8"><title>${escaped(title)}</title>
<style>${STYLE}</style>${body}`;
  const headers = {
    ...ALWAYS,
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": PAGE_POLICY,
  };
  return new Response(html, { headers });
}

function text(content: string): Response {
  return new Response(content, { headers: { ...ALWAYS, "content-type": "text/plain; charset=utf-8" } });
}

function escaped(value: string): string {
  return value.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
