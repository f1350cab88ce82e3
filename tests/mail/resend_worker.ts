/**
 * A Worker that sends the same messages with the `resend` SDK and with a key, and takes the law of mailers in
 * memory.
 */
import { memoryMailer } from "@holdfast/edge/mail";
import { resendMailer } from "@holdfast/edge/resend";
import { type DeliveredMail, mailerLaw } from "@holdfast/edge/testing";
import PostalMime from "postal-mime";
import { Resend } from "resend";
import { sendAll } from "./resend_messages.ts";

export default {
  async fetch(request: Request, env: { readonly KEY: string }): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url);
    const baseUrl = searchParams.get("mail") ?? "";
    if (pathname === "/key") {
      return Response.json(await sendAll(resendMailer({ apiKey: env.KEY, baseUrl })));
    }
    if (pathname === "/sdk") {
      return Response.json(await sendAll(resendMailer(new Resend(env.KEY, { baseUrl }))));
    }
    const broken: string[] = [];
    for (const law of mailerLaw) {
      const mailer = memoryMailer();
      const accepted = () =>
        Promise.all(mailer.outbox.map(async ({ mime }): Promise<DeliveredMail> => {
          const mail = await new PostalMime().parse(mime.bytes);
          const visible = [...mail.to ?? [], ...mail.cc ?? [], ...mail.replyTo ?? []];
          return {
            from: mail.from?.address ?? "",
            recipients: mime.envelope.to,
            visible: visible.map(({ address }) => address ?? ""),
            subject: mail.subject ?? "",
            text: mail.text?.replace(/\n$/, ""),
            html: mail.html?.replace(/\n$/, ""),
            headers: Object.fromEntries(mail.headers.map(({ key, value }) => [key, value])),
            attachments: mail.attachments.map(({ filename, content }) => ({
              filename: filename ?? "",
              bytes: new Uint8Array(content as ArrayBuffer),
            })),
          };
        }));
      await law.run({ mailer, accepted }).catch((error) => broken.push(`${law.name}: ${error}`));
    }
    return Response.json({ laws: mailerLaw.length, broken });
  },
};
