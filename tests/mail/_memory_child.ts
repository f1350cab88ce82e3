/**
 * Sends one big file by one mailer and prints the memory that took; a process of its own, so that only that
 * is counted.
 */
import { buildMime, type Mailer } from "@holdfast/edge/mail";
import { brevoMailer } from "@holdfast/edge/brevo";
import { cloudflareMailer } from "@holdfast/edge/cloudflare-email";
import { dkimSigned } from "@holdfast/edge/dkim";
import { mailgunMailer } from "@holdfast/edge/mailgun";
import { postmarkMailer } from "@holdfast/edge/postmark";
import { resendMailer } from "@holdfast/edge/resend";
import { sendgridMailer } from "@holdfast/edge/sendgrid";
import { sesMailer } from "@holdfast/edge/ses";
import { denoConnector, smtpMailer } from "@holdfast/edge/smtp";
import { AwsClient } from "aws4fetch";

const [name, url, port, bytes] = Deno.args as [string, string, string, string];
const client = new AwsClient({ accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret" });
const ses = { region: "eu-central-1", client, baseUrl: url };
const { privateKey } = await crypto.subtle.generateKey("Ed25519", true, ["sign", "verify"]) as CryptoKeyPair;
const mailgun = { apiKey: "key", domain: "mg.example.com", baseUrl: url };

const mailers: Record<string, () => Mailer> = {
  "resend": () => resendMailer({ apiKey: "re_1", baseUrl: url }),
  "sendgrid": () => sendgridMailer({ apiKey: "SG.1", baseUrl: url }),
  "ses": () => sesMailer(ses),
  "ses, raw": () => sesMailer({ ...ses, mime: buildMime }),
  "mailgun": () => mailgunMailer(mailgun),
  "postmark": () => postmarkMailer({ serverToken: "token", baseUrl: url }),
  "brevo": () => brevoMailer({ apiKey: "key", baseUrl: url }),
  // A binding takes the bytes as they are; the server only has to see that they came.
  "cloudflare": () =>
    cloudflareMailer({
      async send({ attachments }) {
        const { content } = attachments![0]!;
        let at = 0;
        const body = new ReadableStream<Uint8Array>({
          pull(controller) {
            if (at >= content.length) return controller.close();
            controller.enqueue(content.subarray(at, at += 65_536));
          },
        });
        await (await fetch(url, { method: "POST", body })).body?.cancel();
        return { messageId: "1" };
      },
    }),
  "mailgun, MIME": () => mailgunMailer({ ...mailgun, mime: buildMime }),
  "smtp": () =>
    smtpMailer({
      connector: denoConnector(),
      host: "127.0.0.1",
      port: Number(port),
      security: "none",
      idleTimeout: 1,
    }),
  "smtp, DKIM": () =>
    smtpMailer({
      connector: denoConnector(),
      host: "127.0.0.1",
      port: Number(port),
      security: "none",
      idleTimeout: 1,
      mime: dkimSigned(buildMime, { keys: [{ domain: "mg.example.com", selector: "a", privateKey }] }),
    }),
};

/** A figure of the process in bytes; `VmHWM` is the peak of `VmRSS`. */
function memory(field: "VmRSS" | "VmHWM"): number {
  const status = Deno.readTextFileSync("/proc/self/status");
  return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)![1]) * 1024;
}

const mailer = mailers[name]!();
const message = { from: "shop@mg.example.com", to: "jane@example.com", subject: "Hello", text: "Hello" };
const content = new Uint8Array(Number(bytes)).map((_, i) => i * 31);
// Memory that is loaded and compiled at the first sending does not belong to the file.
const small = { filename: "a.bin", content: content.slice(0, 600_000) };
await mailer.send({ ...message, attachments: [small] });
(globalThis as { gc?: () => void }).gc?.();
Deno.writeTextFileSync("/proc/self/clear_refs", "5"); // resets the peak
const before = memory("VmRSS");
await mailer.send({ ...message, attachments: [{ filename: "big.bin", content }] });
// deno-lint-ignore no-console
console.log(JSON.stringify({ grown: memory("VmHWM") - before }));
