import type { MemoryMailer, SentMail } from "../memory/memory_mailer.ts";
import type { Address } from "../../src/email/address.ts";
import { formatAddress } from "../../src/email/address.ts";
import type { RouteContext } from "./_context.ts";

/**
 * A page that shows what a memory mailer sent, for development: the newest first, HTML in a frame that runs nothing, and
 * each message's MIME form under `?raw=` and its place. Whoever can open it reads everybody's mail: never serve it to the world.
 *
 * @example
 * ```ts
 * import { Hono } from "hono";
 * import { memoryMailer } from "@holdfast/edge";
 * import { outboxPage } from "@holdfast/edge/hono";
 * const mailer = memoryMailer();
 * const app = new Hono().get("/outbox", outboxPage(mailer));
 * await mailer.send({ from: "shop@example.com", to: "jane@example.com", subject: "Hello <you>", text: "Hello" });
 * const page = await (await app.request("/outbox")).text();
 * if (!page.includes("Hello &#60;you&#62;")) throw new Error("unexpected");
 * ```
 */
export function outboxPage(mailer: Pick<MemoryMailer, "outbox">): (c: RouteContext) => Response {
  return (c) => {
    const mails = mailer.outbox;
    const raw = new URL(c.req.url).searchParams.get("raw");
    if (raw === null) return respond(page(mails), "text/html");
    const mail = mails[Number(raw)];
    return mail
      ? respond(mail.mime.bytes, "text/plain")
      : respond("There is no such message.", "text/plain", 404);
  };
}

function respond(body: string | Uint8Array<ArrayBuffer>, type: string, status = 200): Response {
  return new Response(body, {
    status,
    headers: {
      "content-type": `${type}; charset=utf-8`,
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      // Frames inherit it: a message's HTML loads nothing from anywhere.
      "content-security-policy":
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-src 'self'",
    },
  });
}

function page(mails: readonly SentMail[]): string {
  const shown = mails.map(article).reverse().join("\n");
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Outbox (${mails.length})</title>
<link rel="icon" href="data:,">
<style>
  :root { color-scheme: light dark; }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 0 auto; padding: 1.5rem 1rem; }
  article { border: 1px solid color-mix(in srgb, currentColor 25%, transparent); border-radius: 12px; padding: 1rem; margin: 1rem 0; }
  h1 { margin: 0; } h2 { font-size: 1.1rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
  dl { display: grid; grid-template-columns: auto 1fr; gap: .1rem .8rem; margin: 0 0 .8rem; font-size: .9rem; }
  dt { opacity: .7; } dd { margin: 0; overflow-wrap: anywhere; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: .5rem 0; }
  iframe { width: 100%; height: 20rem; border: 0; border-radius: 8px; background: #fff; color-scheme: light; }
</style>
</head>
<body>
<h1>Outbox</h1>
<p>${mails.length === 0 ? "Nothing was sent yet." : `${mails.length} sent, the newest first.`}</p>
${shown}
</body>
</html>`;
}

function article({ message, sentAt }: SentMail, index: number): string {
  const { from, to, cc, bcc, replyTo, subject, text, html, headers, tags, attachments } = message;
  const people = (list: readonly Address[]) => list.map(formatAddress).join(", ");
  const rows: [name: string, value: string][] = [
    ["From", people([from])],
    ["To", people(to)],
    ["Cc", people(cc)],
    ["Bcc", people(bcc)],
    ["Reply to", people(replyTo)],
    ["Sent", new Date(sentAt).toISOString()],
    ["Tags", tags.join(", ")],
    ["Files", attachments.map(({ filename }) => filename).join(", ")],
    ...Object.entries(headers),
  ];
  const facts = rows.filter(([, value]) => value !== "")
    .map(([name, value]) => `<dt>${escaped(name)}</dt><dd>${escaped(value)}</dd>`).join("");
  return `<article>
<h2>${escaped(subject)}</h2>
<dl>${facts}</dl>
${text === undefined ? "" : `<pre>${escaped(text)}</pre>`}
${
    html === undefined
      ? ""
      : `<iframe sandbox="" title="The message as HTML" srcdoc="${escaped(html)}"></iframe>`
  }
<p><a href="?raw=${index}">As it goes over the wire</a></p>
</article>`;
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
