/** A `send_email` binding that checks what Cloudflare's documentation of the Workers API says. */
import type { EmailBinding } from "@holdfast/edge/cloudflare-email";
import { type AcceptedMail, checkHeaders, lowerCase, type Mailbox, onlyKnown } from "./http_server.ts";

/** The service behind a binding. */
export interface CloudflareEmail {
  readonly binding: EmailBinding;
  readonly accepted: AcceptedMail[];
  /** Messages that were handed over. */
  calls: number;
  /** The code of the error of every message, if it is not undefined. */
  fault: string | undefined;
}

/** An error as the binding throws it. */
function failed(code: string, message: string): Error {
  return Object.assign(new Error(message), code.startsWith("E_") ? { code } : {});
}

/** Starts it. */
export function startCloudflareEmail(): CloudflareEmail {
  const service: CloudflareEmail = {
    accepted: [],
    calls: 0,
    fault: undefined,
    binding: {
      send(message) {
        service.calls++;
        if (service.fault) return Promise.reject(failed(service.fault, "about jane@example.com"));
        try {
          const mail = readMail(structuredClone(message)); // as the call crosses to another isolate
          service.accepted.push(mail);
          return Promise.resolve({ messageId: mail.id });
        } catch (error) {
          return Promise.reject(failed("E_VALIDATION_ERROR", (error as Error).message));
        }
      },
    },
  };
  return service;
}

// deno-lint-ignore no-explicit-any
function readMail(message: any): AcceptedMail {
  const fields = ["from", "to", "cc", "bcc", "replyTo", "subject", "text", "html", "headers", "attachments"];
  onlyKnown(message, fields, "the message");
  const people = (list: unknown[] = []) => list.map(person);
  const [to, cc, bcc] = [people(message.to), people(message.cc), people(message.bcc)];
  if (to.length === 0 || to.length + cc.length + bcc.length > 50) throw new Error("recipients");
  if (!message.subject || (!message.text && !message.html)) throw new Error("subject and body");
  checkHeaders(message.headers ?? {});
  return {
    id: `<${crypto.randomUUID()}@example.com>`,
    from: person(message.from),
    to,
    cc,
    bcc,
    replyTo: message.replyTo === undefined ? [] : [person(message.replyTo)],
    subject: message.subject,
    text: message.text,
    html: message.html,
    headers: lowerCase(message.headers ?? {}),
    tags: [],
    metadata: {},
    sendAt: undefined,
    raw: undefined,
    attachments: (message.attachments ?? []).map((file: Record<string, unknown>) => {
      onlyKnown(file, ["content", "filename", "type", "disposition", "contentId"], "an attachment");
      if (!(file.content instanceof Uint8Array) || !file.filename || !file.type) {
        throw new Error("attachment");
      }
      if ((file.disposition === "inline") !== (file.contentId !== undefined)) throw new Error("disposition");
      return {
        filename: String(file.filename),
        contentType: String(file.type),
        contentId: file.contentId as string | undefined,
        bytes: file.content,
      };
    }),
  };
}

function person(one: unknown): Mailbox {
  const { email, name } = typeof one === "string" ? { email: one, name: "" } : one as Record<string, string>;
  if (!/^[^\s@<>]+@[a-z\d.-]+$/i.test(email ?? "") || name === undefined) throw new Error("address");
  return { name, address: email! };
}
