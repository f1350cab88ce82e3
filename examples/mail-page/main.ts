/**
 * An app that sends mail, and the page that shows it: `deno run --allow-net examples/mail-page/main.ts`, then
 * open http://localhost:8000/ and http://localhost:8000/mail.
 */
import { memoryMailer } from "@holdfast/edge/mail";
import { mailPage } from "./mail_page.ts";

const mailer = memoryMailer();
const page = mailPage(mailer);

/** Sends a message at every visit. */
async function app(request: Request): Promise<Response> {
  await mailer.send({
    from: "Shop <shop@example.com>",
    to: "jane@example.com",
    subject: `You visited ${new URL(request.url).pathname}`,
    text: "Thank you.",
    html: '<p style="color: green">Thank you.</p>',
  });
  return new Response("A message was sent: see /mail\n");
}

if (import.meta.main) Deno.serve({ hostname: "127.0.0.1" }, (request) => page(request) ?? app(request));
