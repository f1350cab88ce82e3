/**
 * The one message model. A message is a plain object; `prepareMessage` checks it once, by the rules of all
 * mailers together, and freezes a copy, so no mailer checks or cleans anything again.
 */
import { checkNames, checkNeededNames, type OptionNames } from "../validate.ts";
import { type Address, type AddressInput, headerText, need, parseAddress, shortText } from "./address.ts";
import { type Attachment, prepareAttachment, type PreparedAttachment } from "./attachment.ts";
import { MAX_WORD } from "./encoded_word.ts";
import type { ProviderOptions } from "./provider_options.ts";

/**
 * A message to send.
 *
 * @category Mail
 */
export interface Message {
  /** The sender. */
  readonly from: AddressInput;
  /** The recipients. At least one must be in `to`, `cc` or `bcc`. */
  readonly to?: AddressInput | readonly AddressInput[] | undefined;
  /** Recipients of a copy, visible to all. */
  readonly cc?: AddressInput | readonly AddressInput[] | undefined;
  /** Recipients of a copy that no header names. */
  readonly bcc?: AddressInput | readonly AddressInput[] | undefined;
  /** The addresses for answers instead of `from`. */
  readonly replyTo?: AddressInput | readonly AddressInput[] | undefined;
  /** The subject; not empty. Needed, unless a template in `provider` brings it. */
  readonly subject?: string | undefined;
  /** The body as text. A message has a text, an HTML body or both, or a template in `provider`. */
  readonly text?: string | undefined;
  /** The body as HTML. */
  readonly html?: string | undefined;
  /**
   * Further headers, with values that are not empty. Headers that other fields set are refused. ASCII values
   * are folded and never encoded; headers of ids, URLs or keywords (`References`, `List-…`) must be ASCII.
   */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Labels for the provider's statistics. */
  readonly tags?: readonly string[] | undefined;
  /** Named values that come back in the provider's events. Mailgun shows them to recipients, in a header. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** Files, and pictures shown inside the HTML. */
  readonly attachments?: readonly Attachment[] | undefined;
  /**
   * The ways to unsubscribe: become the headers of RFC 2369 and, with a `url`, the one-click header of RFC
   * 8058.
   */
  readonly unsubscribe?: Unsubscribe | undefined;
  /** An invitation. */
  readonly calendar?: Calendar | undefined;
  /** The time at which the provider is to send it; absent means now. */
  readonly sendAt?: Date | undefined;
  /**
   * Options of single providers, templates included, by the mailer's name. Mailers that it does not name
   * refuse the message.
   */
  readonly provider?: ProviderOptions | undefined;
}

/**
 * The ways to leave a list; at least one of both. Mailbox providers heed the one-click header only when a
 * DKIM signature covers both headers: the services sign them, and so must the server that SMTP speaks to.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8058
 * @category Mail
 */
export interface Unsubscribe {
  /** An https address that unsubscribes on a POST. */
  readonly url?: string | undefined;
  /** A mailbox that unsubscribes those that write to it. */
  readonly mailto?: string | undefined;
}

/**
 * A calendar invitation.
 *
 * @category Mail
 */
export interface Calendar {
  /** The iCalendar method, the same as inside `content`. */
  readonly method:
    | "PUBLISH"
    | "REQUEST"
    | "REPLY"
    | "ADD"
    | "CANCEL"
    | "REFRESH"
    | "COUNTER"
    | "DECLINECOUNTER";
  /** The iCalendar object. */
  readonly content: string;
}

/**
 * A message that was checked, copied and frozen; itself a {@linkcode Message}.
 *
 * @category Mail
 */
export interface PreparedMessage extends Message {
  /** The sender. */
  readonly from: Address;
  /** No address is twice in `to`, `cc` and `bcc` together: the most visible one counts. */
  readonly to: readonly Address[];
  /** Visible copies. */
  readonly cc: readonly Address[];
  /** Invisible copies. */
  readonly bcc: readonly Address[];
  /** The addresses for answers. */
  readonly replyTo: readonly Address[];
  /** The subject; "" where a template brings it. */
  readonly subject: string;
  /** Further headers, those of `unsubscribe` included. */
  readonly headers: Readonly<Record<string, string>>;
  /** Labels, each once. */
  readonly tags: readonly string[];
  /** Named values. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Files, readable more than once. */
  readonly attachments: readonly PreparedAttachment[];
}

/** Headers that say what a message is or where it goes: fields of the message set them. */
const STRUCTURAL =
  /^(?:from|to|b?cc|sender|reply-to|subject|date|message-id|mime-version|return-path|received|dkim-signature|content-.*|resent-.*|x-sg-e?id)$/i;

/** Headers whose grammar is one of ids, URLs, addresses or keywords: encoded words mean nothing in them. */
const STRUCTURED =
  /^(?:in-reply-to|references|list-.*|auto-submitted|precedence|(?:x-)?priority|importance|sensitivity|feedback-id|archived-at|disposition-notification-.*|return-receipt-to|errors-to|x-auto-response-suppress)$/i;

const MESSAGE = {
  from: true,
  to: true,
  cc: true,
  bcc: true,
  replyTo: true,
  subject: true,
  text: true,
  html: true,
  headers: true,
  tags: true,
  metadata: true,
  attachments: true,
  unsubscribe: true,
  calendar: true,
  sendAt: true,
  provider: true,
} satisfies OptionNames<Message>;

const UNSUBSCRIBE = { url: true, mailto: true } satisfies OptionNames<Unsubscribe>;
const CALENDAR = { method: true, content: true } satisfies OptionNames<Calendar>;
const prepared = new WeakSet<object>();

/**
 * Checks a message and freezes a copy of it. A prepared message comes back as it is, so preparing it once and
 * sending it often costs once, and streams are read once.
 *
 * @throws {TypeError} when any field is not valid; the error names the field and never its value
 * @category Mail
 * @example
 * ```ts
 * import { prepareMessage } from "@holdfast/edge/mail";
 * const message = prepareMessage({
 *   from: "Shop <shop@example.com>",
 *   to: ["jane@example.com", { name: "Doe, John", address: "john@example.com" }],
 *   subject: "Your order",
 *   text: "It is on its way.",
 *   unsubscribe: { url: "https://example.com/leave?u=1" },
 * });
 * if (message.headers["List-Unsubscribe"] !== "<https://example.com/leave?u=1>") throw new Error("unexpected");
 * ```
 */
export function prepareMessage(message: Message): PreparedMessage {
  if (prepared.has(message)) return message as PreparedMessage;
  checkNeededNames("send as the message is given", message, MESSAGE, "one");
  checkNames("send as 'calendar' is given", message.calendar, CALENDAR);
  checkNames("send as 'unsubscribe' is given", message.unsubscribe, UNSUBSCRIBE);
  const { text, html, calendar, sendAt, provider } = message;
  need(isPlain(provider), "provider", "must be an object");
  // A template may bring what is missing: the mailer that reads the options tells.
  const subject = headerText(message.subject ?? (provider && ""), "subject");
  needBody({ subject, text, html }, provider);
  need(
    sendAt === undefined || (sendAt instanceof Date && sendAt.getTime() >= 0),
    "sendAt",
    "must be valid",
  );
  need(!calendar || /^[A-Z]{3,14}$/.test(calendar.method), "calendar.method", "must be valid");
  const seen = new Set<string>();
  const result: PreparedMessage = Object.freeze({
    from: parseAddress(message.from, "from"),
    to: addresses(message.to, "to", seen),
    cc: addresses(message.cc, "cc", seen),
    bcc: addresses(message.bcc, "bcc", seen),
    replyTo: addresses(message.replyTo, "replyTo", new Set()),
    subject,
    text: bodyText(text, "text"),
    html: bodyText(html, "html"),
    headers: headersOf(message),
    tags: Object.freeze([...new Set(list(message.tags, "tags").map((tag) => shortText(tag, "tags")))]),
    metadata: record(message.metadata, "metadata"),
    attachments: Object.freeze(list(message.attachments, "attachments").map(prepareAttachment)),
    calendar: calendar &&
      Object.freeze({ method: calendar.method, content: bodyText(calendar.content, "calendar") ?? "" }),
    sendAt: sendAt && new Date(sendAt),
    // A copy, and such that a store can keep it.
    provider: provider && JSON.parse(JSON.stringify(provider)),
  });
  need(seen.size, "to", "or 'cc' or 'bcc' must be there");
  const ids = result.attachments.flatMap(({ contentId }) => contentId ?? []);
  need(new Set(ids).size === ids.length, "attachments", "must not share a contentId");
  prepared.add(result);
  return result;
}

/** Refuses a message without subject or body unless a template brings them, or may. */
export function needBody(
  { subject, text, html }: Pick<PreparedMessage, "subject" | "text" | "html">,
  template: unknown,
): void {
  need(template !== undefined || subject.trim(), "subject", "must not be empty");
  need(template !== undefined || (text ?? html), "text", "or 'html' must be there");
}

/** All recipients, in the order to, cc, bcc. */
export function recipientsOf(message: PreparedMessage): readonly Address[] {
  return [...message.to, ...message.cc, ...message.bcc];
}

function list<T>(value: readonly T[] | undefined, what: string): readonly T[] {
  need(value === undefined || Array.isArray(value), what, "must be an array");
  return value ?? [];
}

function addresses(
  value: AddressInput | readonly AddressInput[] | undefined,
  what: string,
  seen: Set<string>,
): readonly Address[] {
  const all = [value ?? []].flat() as readonly AddressInput[];
  return Object.freeze(
    all.map((one, i) => parseAddress(one, `${what}[${i}]`)).filter(({ address }) => isNew(address, seen)),
  );
}

/** Whether the text was not seen before, in whatever case; from now on it was. */
function isNew(text: string, seen: Set<string>): boolean {
  const { size } = seen;
  return seen.add(text.toLowerCase()).size > size;
}

function headersOf({ headers, unsubscribe }: Message): Readonly<Record<string, string>> {
  const pairs = Object.entries(record(headers, "headers"));
  if (unsubscribe !== undefined) {
    const { url, mailto } = unsubscribe;
    const ways: string[] = [];
    if (url !== undefined) {
      need(/^https:\/\/[!#-;=?-~]{1,880}$/.test(url), "unsubscribe.url", "must be an https URL in ASCII");
      ways.push(`<${url}>`);
    }
    if (mailto !== undefined) {
      const { address } = parseAddress(mailto, "unsubscribe.mailto");
      // Characters with a meaning in URLs are escaped.
      ways.push(`<mailto:${address.replace(/[^\w.@+-]/gu, encodeURIComponent)}>`);
    }
    need(ways.length, "unsubscribe", "must have a 'url' or a 'mailto'");
    pairs.push(["List-Unsubscribe", ways.join(", ")]);
    if (url !== undefined) pairs.push(["List-Unsubscribe-Post", "List-Unsubscribe=One-Click"]);
  }
  const names = new Set<string>();
  return Object.freeze(Object.fromEntries(pairs.map(([name, value]) => {
    const right = /^[\w!#$%&'*+.^`|~-]{1,126}$/.test(name) && !STRUCTURAL.test(name) &&
      isNew(name, names);
    need(right, "headers", "must have plain names that no field sets, each once");
    return [name, headerValue(name, value)];
  })));
}

/**
 * A header's value without the spaces that mean nothing: around it, and in structured headers those in a row.
 */
function headerValue(name: string, text: string): string {
  let value = text.trim();
  need(value, "headers", "must have values");
  if (STRUCTURED.test(name)) {
    need(/^[ -~]*$/.test(value), "headers", `must be ASCII in ${name}`);
    // Between quotes every space counts.
    if (!value.includes('"')) value = value.replace(/ {2,}/g, " ");
  }
  const folds = !/^[ -~]*$/.test(value) || value.split(" ").every(({ length }) => length <= MAX_WORD);
  need(folds, "headers", `must have a space after at most ${MAX_WORD} characters`);
  return value;
}

/** Whether a value is an object of named values, or left out: no array, Date or Map. */
function isPlain(value: unknown): boolean {
  return value === undefined || ({}).toString.call(value) === "[object Object]";
}

function record(
  value: Readonly<Record<string, string>> | undefined,
  what: string,
): Readonly<Record<string, string>> {
  need(isPlain(value), what, "must be an object of strings");
  const pairs = Object.entries(value ?? {});
  return Object.freeze(
    Object.fromEntries(pairs.map(([key, text]) => [shortText(key, what), headerText(text, what)])),
  );
}

/**
 * A body, which is encoded, so every text goes but one without an encoding, or with NUL, where mail programs
 * cut it off.
 */
function bodyText(value: string | undefined, what: string): string | undefined {
  const right = value === undefined ||
    (typeof value === "string" && value && !value.includes("\0") && value.isWellFormed());
  need(right, what, "must be a string, not empty, without NUL or lone surrogates");
  return value;
}
