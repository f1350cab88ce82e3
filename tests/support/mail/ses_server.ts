/**
 * Amazon SES v2 as its SDK speaks to it (research/email.md, 2.4); it computes every signature anew, without
 * aws4fetch.
 */
import type { Buffer } from "node:buffer";
import { createHash, createHmac, randomUUID } from "node:crypto";
import {
  type AcceptedMail,
  base64,
  checkHeaders,
  json,
  lowerCase,
  type MailHandler,
  type MailRequest,
  type MailServer,
  onlyKnown,
  Refusal,
  startMailServer,
} from "./http_server.ts";
import { checkMime, mailbox, mailboxes, parseMime } from "./parse.ts";

/** The credentials it knows. */
export const SES_CREDENTIALS = {
  accessKeyId: "AKIDEXAMPLE",
  secretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
};
/** The session token that it knows besides none. */
export const SES_SESSION_TOKEN = "SESSIONTOKEN==";
/** The region it is. */
export const SES_REGION = "us-east-1";

/** Starts it. */
export function startSes(): Promise<MailServer> {
  const handle: MailHandler = async (request, server) => {
    if (request.path !== "/v2/email/outbound-emails") {
      throw new Refusal(404, "not found", "NotFoundException");
    }
    if (request.method !== "POST") throw new Refusal(405, "method not allowed", "BadRequestException");
    checkSignature(request);
    const mail = await readMail(json(request));
    if (server.refuse?.(mail)) {
      throw new Refusal(400, `Email address is not verified: ${mail.to[0]?.address}`, "MessageRejected");
    }
    server.accepted.push(mail);
    return {
      status: 200,
      headers: { "content-type": "application/json", "x-amzn-requestid": randomUUID() },
      body: JSON.stringify({ MessageId: mail.id }),
    };
  };
  return startMailServer(handle, ({ status, message, code }) => ({
    status,
    headers: {
      "content-type": "application/json",
      "x-amzn-errortype": `${
        code === "invalid" ? "BadRequestException" : code
      }:http://internal.amazon.com/coral/`,
    },
    body: JSON.stringify({ message }),
  }));
}

const hmac = (key: string | Buffer, text: string) => createHmac("sha256", key).update(text).digest();

/** The signature of a request by the published algorithm. */
export function signature(
  request: { readonly method: string; readonly path: string; readonly body: Uint8Array | string },
  signed: readonly (readonly [name: string, value: string])[],
  { secret, date, region, service }: { secret: string; date: string; region: string; service: string },
): string {
  const canonical = [
    request.method,
    request.path,
    "",
    ...signed.map(([name, value]) => `${name}:${value.trim().replace(/\s+/g, " ")}`),
    "",
    signed.map(([name]) => name).join(";"),
    createHash("sha256").update(request.body).digest("hex"),
  ].join("\n");
  const day = date.slice(0, 8);
  const toSign = [
    "AWS4-HMAC-SHA256",
    date,
    `${day}/${region}/${service}/aws4_request`,
    createHash("sha256").update(canonical).digest("hex"),
  ].join("\n");
  const key = [day, region, service, "aws4_request"].reduce<string | Buffer>(
    (key, part) => hmac(key, part),
    "AWS4" + secret,
  );
  return hmac(key as Buffer, toSign).toString("hex");
}

function checkSignature(request: MailRequest): void {
  const { headers } = request;
  const parts =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, SignedHeaders=([\w;-]+), Signature=([\da-f]{64})$/
      .exec(headers.get("authorization") ?? "");
  if (!parts) throw new Refusal(403, "Missing Authentication Token", "MissingAuthenticationTokenException");
  const [, id, day, region, service, names, given] = parts as unknown as string[];
  const date = headers.get("x-amz-date") ?? "";
  if (id !== SES_CREDENTIALS.accessKeyId) {
    throw new Refusal(
      403,
      "The security token included in the request is invalid.",
      "UnrecognizedClientException",
    );
  }
  const token = headers.get("x-amz-security-token");
  if (token !== null && token !== SES_SESSION_TOKEN) {
    throw new Refusal(403, "expired", "ExpiredTokenException");
  }
  const list = names!.split(";");
  const needed = ["host", "x-amz-date", ...(token === null ? [] : ["x-amz-security-token"])];
  if (needed.some((name) => !list.includes(name)) || [...list].sort().join() !== list.join()) {
    throw new Refusal(403, "headers must be signed", "InvalidSignatureException");
  }
  const at = Date.parse(date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, "$1-$2-$3T$4:$5:$6Z"));
  if (!(Math.abs(at - Date.now()) < 300_000) || !date.startsWith(day!)) {
    throw new Refusal(403, "Signature expired", "InvalidSignatureException");
  }
  if (region !== SES_REGION || service !== "ses") {
    throw new Refusal(403, "Credential should be scoped to a valid region", "InvalidSignatureException");
  }
  const signed = list.map((name) => [name, headers.get(name) ?? ""] as const);
  const computed = signature(request, signed, {
    secret: SES_CREDENTIALS.secretAccessKey,
    date,
    region: region!,
    service: service!,
  });
  if (computed !== given) {
    const message = "The request signature we calculated does not match the signature you provided.";
    throw new Refusal(403, message, "SignatureDoesNotMatch");
  }
}

// deno-lint-ignore no-explicit-any
async function readMail(body: any): Promise<AcceptedMail> {
  onlyKnown(body, [
    "FromEmailAddress",
    "Destination",
    "ReplyToAddresses",
    "EmailTags",
    "ConfigurationSetName",
    "TenantName",
    "EndpointId",
    "FromEmailAddressIdentityArn",
    "FeedbackForwardingEmailAddress",
    "FeedbackForwardingEmailAddressIdentityArn",
    "ListManagementOptions",
    "Content",
  ], "the request");
  const { Destination = {}, EmailTags = [], Content = {} } = body;
  onlyKnown(Destination, ["ToAddresses", "CcAddresses", "BccAddresses"], "Destination");
  const ascii = (list: unknown = []) =>
    (list as string[]).map((text) => {
      if (!/^[ -~]*$/.test(text)) throw new Refusal(400, "addresses must be ASCII", "BadRequestException");
      return text;
    });
  const to = mailboxes(ascii(Destination.ToAddresses), "to");
  const cc = mailboxes(ascii(Destination.CcAddresses), "cc");
  const bcc = mailboxes(ascii(Destination.BccAddresses), "bcc");
  const count = to.length + cc.length + bcc.length;
  if (count === 0 || count > 50) throw new Refusal(400, "Recipient count exceeds 50.", "BadRequestException");
  const pairs: [string, string][] = EmailTags.map((tag: Record<string, string>) => {
    onlyKnown(tag, ["Name", "Value"], "a tag");
    if (![tag.Name, tag.Value].every((text) => /^[A-Za-z0-9_-]{1,256}$/.test(text ?? ""))) {
      throw new Refusal(400, "Invalid tag", "BadRequestException");
    }
    return [tag.Name!, tag.Value!];
  });
  const own = {
    id: randomUUID(),
    tags: pairs.filter(([, value]) => value === "true").map(([name]) => name),
    metadata: Object.fromEntries(pairs.filter(([, value]) => value !== "true")),
    sendAt: undefined,
    to,
    cc,
    bcc,
  };
  onlyKnown(Content, ["Simple", "Raw", "Template"], "Content");
  onlyKnown(body.ListManagementOptions ?? {}, ["ContactListName", "TopicName"], "ListManagementOptions");
  if (Content.Raw) {
    onlyKnown(Content.Raw, ["Data"], "Raw");
    const raw = base64(Content.Raw.Data, "Raw.Data");
    checkMime(raw);
    return { ...await parseMime(raw), ...own };
  }
  const { Template } = Content;
  if (Template) {
    const known = [
      "TemplateName",
      "TemplateArn",
      "TemplateContent",
      "TemplateData",
      "Headers",
      "Attachments",
    ];
    onlyKnown(Template, known, "Template");
    if (!Template.TemplateName === !Template.TemplateArn) {
      throw new Refusal(400, "one of TemplateName and TemplateArn", "BadRequestException");
    }
    JSON.parse(Template.TemplateData);
  }
  const { Subject, Body = {}, Headers = [], Attachments = [] } = Content.Simple ?? Template;
  if (!Template) onlyKnown(Content.Simple, ["Subject", "Body", "Headers", "Attachments"], "Simple");
  onlyKnown(Body, ["Text", "Html"], "Body");
  for (const data of [Subject, Body.Text, Body.Html]) {
    if (data === undefined) continue;
    onlyKnown(data, ["Data", "Charset"], "a text");
    if (data.Charset !== "UTF-8") {
      throw new Refusal(400, "without a charset it is ASCII", "BadRequestException");
    }
  }
  const headers = Object.fromEntries(Headers.map(({ Name, Value }: Record<string, string>) => {
    if (Name!.length > 126 || Value!.length > 995) {
      throw new Refusal(400, "header length", "BadRequestException");
    }
    return [Name, Value];
  }));
  checkHeaders(headers);
  return {
    ...own,
    from: mailbox(ascii([body.FromEmailAddress])[0], "from"),
    replyTo: mailboxes(ascii(body.ReplyToAddresses), "reply-to"),
    subject: Subject?.Data ?? "",
    text: Body.Text?.Data,
    html: Body.Html?.Data,
    headers: lowerCase(headers),
    raw: undefined,
    attachments: Attachments.map((file: Record<string, string>) => {
      onlyKnown(file, [
        "RawContent",
        "FileName",
        "ContentType",
        "ContentDisposition",
        "ContentId",
        "ContentTransferEncoding",
      ], "an attachment");
      if ((file.ContentDisposition === "INLINE") !== (file.ContentId !== undefined)) {
        throw new Refusal(400, "ContentDisposition", "BadRequestException");
      }
      return {
        filename: file.FileName!,
        contentType: file.ContentType!,
        contentId: file.ContentId,
        bytes: base64(file.RawContent, "RawContent"),
      };
    }),
  };
}
