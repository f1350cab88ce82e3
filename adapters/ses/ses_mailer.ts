import { type Address, need } from "../../src/mail/address.ts";
import { addressWords } from "../../src/mail/encoded_word.ts";
import { fetchExchange, type HttpMailerOptions } from "../../src/mail/fetch_exchange.ts";
import {
  type Answer,
  httpMailer,
  type MailRequest,
  type Refusal,
  type RequestOptions,
  wireFiles,
  wireHeaders,
} from "../../src/mail/http_mailer.ts";
import { Base64Content, jsonRequest, some } from "../../src/mail/json_request.ts";
import { mailError, unsupported } from "../../src/mail/mail_error.ts";
import type { Mailer } from "../../src/mail/mailer.ts";
import type { PreparedMessage } from "../../src/mail/message.ts";
import type { MimeBuilder } from "../../src/mail/mime.ts";
import { toBytes } from "../../src/mail/pieces.ts";
import type { SesOptions } from "../../src/mail/provider_options.ts";
import { checkNeededNames, type OptionNames } from "../../src/validate.ts";
import { sha256Hex } from "../../src/sha256_stream.ts";

/**
 * The part of an `AwsClient` from the package `aws4fetch` that is used: it signs requests.
 *
 * @category Mailers
 */
export interface SesClient {
  /**
   * Signs a request for a service in a region; the headers of the result are sent. A large body is not handed
   * over: its hash is, in the header `x-amz-content-sha256`.
   */
  sign(
    url: string,
    request: {
      readonly method: string;
      readonly headers: Record<string, string>;
      readonly body?: string;
      readonly aws: { readonly service: string; readonly region: string };
    },
  ): Promise<{ readonly headers: Headers }>;
}

/**
 * The access to SES.
 *
 * @category Mailers
 */
export interface SesAccess extends HttpMailerOptions {
  /** The region, such as `eu-central-1`. */
  readonly region: string;
  /**
   * Your `AwsClient`, which signs; a function is called for one before every request, for credentials that
   * expire.
   */
  readonly client: SesClient | (() => SesClient | Promise<SesClient>);
  /** Options for messages that have none of their own under `provider.ses`. */
  readonly defaults?: SesOptions | undefined;
  /**
   * Builds messages here and hands them over whole: hand in `buildMime`. It is not built in, as most do
   * without.
   * @default {SES builds them from fields}
   */
  readonly mime?: MimeBuilder | undefined;
}

const NAME = "ses";
const PATH = "/v2/email/outbound-emails";

/**
 * Bytes of a body up to which the client hashes it itself; for larger ones it would have to be held as one
 * string.
 */
const SIGN_WHOLE = 256 * 1024;

const ACCESS = {
  region: true,
  client: true,
  defaults: true,
  mime: true,
  timeout: true,
  fetch: true,
  baseUrl: true,
} satisfies OptionNames<SesAccess>;
const MESSAGE = {
  configurationSetName: true,
  tenantName: true,
  endpointId: true,
  fromArn: true,
  feedbackAddress: true,
  feedbackArn: true,
  listManagement: true,
  template: true,
} satisfies OptionNames<SesOptions>;

/**
 * Sends by Amazon SES, API version 2. SES knows no idempotency keys, so an attempt whose answer was lost is
 * never repeatable. Tags become email tags with the value `true`, metadata email tags. Every send opens a
 * connection of its own.
 *
 * @throws {TypeError} when region or client are missing
 * @see https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html
 * @category Mailers
 * @example
 * ```ts
 * import { sesMailer } from "@holdfast/edge/ses";
 * import { AwsClient } from "aws4fetch";
 * const mailer = sesMailer({
 *   region: "eu-central-1",
 *   client: new AwsClient({ accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret" }),
 *   fetch: () => Promise.resolve(Response.json({ MessageId: "0107" })), // leave this out
 * });
 * const receipt = await mailer.send({
 *   from: "shop@example.com",
 *   to: "jane@example.com",
 *   subject: "Hello",
 *   text: "Hello",
 * });
 * if (receipt.id !== "0107") throw new Error("unexpected");
 * ```
 */
export function sesMailer(access: SesAccess): Mailer {
  checkNeededNames("make an SES mailer", access, ACCESS, "'region' and 'client'");
  const { region, client, defaults, timeout, mime } = access;
  need(/^[a-z\d-]+$/.test(region ?? "") && client, "region", "or 'client' is missing");
  need(!mime || typeof mime === "function", "mime", "must be a function");
  const address = access.baseUrl ?? `https://email.${region}.amazonaws.com`;
  return httpMailer<SesOptions>({
    name: NAME,
    timeout,
    defaults,
    options: MESSAGE,
    template: ({ template }) => mime ? undefined : template,
    maxBytes: 40_000_000,
    maxRecipients: 50,
    withoutTo: true,
    selectsRecipients: mime !== undefined,
    success: [200],
    exchange: fetchExchange(address, access),
    request: async (message, options) => {
      const content = mime
        ? { Raw: await raw(mime, message, options) }
        : await fields(message, options.provider.template);
      const request = jsonRequest(PATH, envelope(message, options, content));
      return { ...request, headers: await signed(access, address + PATH, request) };
    },
    id: ({ json }) => json?.MessageId,
    refusal,
  });
}

/** The headers of a request, signed. */
async function signed(
  { client, region }: SesAccess,
  url: string,
  { headers, body }: MailRequest,
): Promise<Record<string, string>> {
  try {
    const signer = typeof client === "function" ? await client() : client;
    const aws = { service: NAME, region };
    const content = body.size <= SIGN_WHOLE
      ? { headers: { ...headers }, body: new TextDecoder().decode(toBytes(body)) }
      : { headers: { ...headers, "x-amz-content-sha256": sha256Hex(body.chunks()) } };
    const request = await signer.sign(url, { method: "POST", ...content, aws });
    return Object.fromEntries(request.headers);
  } catch (cause) {
    throw mailError(NAME, "unauthorized", "there is no signature", { cause });
  }
}

function envelope(
  message: PreparedMessage,
  { recipients, provider }: RequestOptions<SesOptions>,
  content: object,
): object {
  const { from, replyTo, tags, metadata } = message;
  const wanted = new Set(recipients);
  const [to, cc, bcc] = [message.to, message.cc, message.bcc].map((list) =>
    some(list.filter(({ address }) => wanted.has(address)).map(mailbox))
  );
  const named = [...tags.map((tag) => [tag, "true"] as const), ...Object.entries(metadata)];
  if (named.flat().some((text) => !/^[\w-]{1,256}$/.test(text))) {
    throw unsupported(NAME, "tags and metadata beyond [\\w-]");
  }
  return {
    FromEmailAddress: mailbox(from),
    Destination: {
      ToAddresses: to,
      CcAddresses: cc,
      BccAddresses: bcc,
    },
    ReplyToAddresses: some(replyTo.map(mailbox)),
    EmailTags: some(named.map(([Name, Value]) => ({ Name, Value }))),
    ConfigurationSetName: provider.configurationSetName,
    TenantName: provider.tenantName,
    EndpointId: provider.endpointId,
    FromEmailAddressIdentityArn: provider.fromArn,
    FeedbackForwardingEmailAddress: provider.feedbackAddress,
    FeedbackForwardingEmailAddressIdentityArn: provider.feedbackArn,
    ListManagementOptions: provider.listManagement && {
      ContactListName: provider.listManagement.contactListName,
      TopicName: provider.listManagement.topicName,
    },
    Content: content,
  };
}

async function raw(mime: MimeBuilder, message: PreparedMessage, options: RequestOptions): Promise<object> {
  const { idempotencyKey, recipients } = options;
  return { Data: new Base64Content(await mime(message, { mailer: NAME, idempotencyKey, recipients })) };
}

/** The message, or a template with what goes beside it. */
async function fields(message: PreparedMessage, template: SesOptions["template"]): Promise<object> {
  const { subject, text, html } = message;
  const headers = wireHeaders(message, NAME);
  if (headers.some(([name, value]) => value.length > 995 || name.length + value.length > 996)) {
    throw unsupported(NAME, "headers of more than 995 characters");
  }
  const files = await wireFiles(message, NAME);
  const data = (text: string | undefined) =>
    text === undefined ? undefined : { Data: text, Charset: "UTF-8" };
  const both = {
    Headers: some(headers.map(([Name, Value]) => ({ Name, Value }))),
    Attachments: some(files.map(({ filename, contentType, contentId, bytes }) => ({
      RawContent: new Base64Content(bytes),
      FileName: filename,
      ContentType: contentType,
      ContentDisposition: contentId === undefined ? "ATTACHMENT" : "INLINE",
      ContentId: contentId,
      ContentTransferEncoding: "BASE64",
    }))),
  };
  if (!template) {
    return { Simple: { Subject: data(subject), Body: { Text: data(text), Html: data(html) }, ...both } };
  }
  return {
    Template: {
      TemplateName: template.name,
      TemplateArn: template.arn,
      TemplateData: JSON.stringify(template.data ?? {}),
      ...both,
    },
  };
}

/** The name of an error is in a header, with a URL behind a colon, or in the body. */
function refusal({ header, json }: Answer): Partial<Refusal> {
  const reason = String(header("x-amzn-errortype") ?? json?.__type ?? json?.code ?? "").split(":", 1)[0]!;
  const busy = /^(?:TooManyRequests|Throttling|LimitExceeded)/.test(reason);
  if (busy && (/quota/i.test(json?.message) || reason.startsWith("Limit"))) {
    return { code: "quota-exceeded", retryable: false, reason };
  }
  return { reason, ...(busy && { code: "rate-limited", retryable: true }) };
}

function mailbox(address: Address): string {
  return addressWords(address).join(" ");
}
