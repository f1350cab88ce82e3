/**
 * The one message model. A message is a plain object; `prepareMessage` checks it once, as hard as every mailer together
 * needs, and freezes a copy, so no mailer checks or cleans anything again.
 */
import { type Address, type AddressInput, headerText, parseAddress, refusal } from "./address.ts";
import { type Attachment, prepareAttachment, type PreparedAttachment } from "./attachment.ts";

/** A message to send. */
export interface Message {
  /** Who it is from. */
  readonly from: AddressInput;
  /** Who it is for. At least one recipient must be in `to`, `cc` or `bcc`. */
  readonly to?: AddressInput | readonly AddressInput[] | undefined;
  /** Who gets a copy that everybody can see. */
  readonly cc?: AddressInput | readonly AddressInput[] | undefined;
  /** Who gets a copy that nobody sees: never in a header. */
  readonly bcc?: AddressInput | readonly AddressInput[] | undefined;
  /** Where answers go instead of `from`. */
  readonly replyTo?: AddressInput | readonly AddressInput[] | undefined;
  /** What it is about; not empty. */
  readonly subject: string;
  /** The body as text. A message has a text, an HTML body or both. */
  readonly text?: string | undefined;
  /** The body as HTML. */
  readonly html?: string | undefined;
  /** Further headers. Those that say what a message is or where it goes are refused. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Labels for the provider's statistics. */
  readonly tags?: readonly string[] | undefined;
  /** Named values that come back in the provider's events. Mailgun shows them to recipients, in a header. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** Files, and pictures shown inside the HTML. */
  readonly attachments?: readonly Attachment[] | undefined;
  /** Where to unsubscribe: becomes the headers of RFC 2369 and, with a `url`, the one-click header of RFC 8058. */
  readonly unsubscribe?: Unsubscribe | undefined;
  /** An invitation. */
  readonly calendar?: Calendar | undefined;
  /** When the provider is to send it; absent means now. */
  readonly sendAt?: Date | undefined;
}

/** How to leave a list; at least one of both. */
export interface Unsubscribe {
  /** An https address that unsubscribes on a POST. */
  readonly url?: string | undefined;
  /** A mailbox that unsubscribes whoever writes to it. */
  readonly mailto?: string | undefined;
}

/** A calendar invitation. */
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

/** A message that was checked, copied and frozen; itself a {@linkcode Message}. */
export interface PreparedMessage extends Message {
  /** Who it is from. */
  readonly from: Address;
  /** No address is twice in `to`, `cc` and `bcc` together: the most visible one counts. */
  readonly to: readonly Address[];
  /** Visible copies. */
  readonly cc: readonly Address[];
  /** Invisible copies. */
  readonly bcc: readonly Address[];
  /** Where answers go. */
  readonly replyTo: readonly Address[];
  /** Further headers, those of `unsubscribe` included. */
  readonly headers: Readonly<Record<string, string>>;
  /** Labels, each once. */
  readonly tags: readonly string[];
  /** Named values. */
  readonly metadata: Readonly<Record<string, string>>;
  /** Files, readable more than once. */
  readonly attachments: readonly PreparedAttachment[];
}

const STRUCTURAL =
  /^(?:from|to|b?cc|sender|reply-to|subject|date|message-id|mime-version|return-path|received|dkim-signature|content-.*|resent-.*|x-sg-e?id)$/i;
const METHODS = /^(?:PUBLISH|REQUEST|REPLY|ADD|CANCEL|REFRESH|COUNTER|DECLINECOUNTER)$/;
const prepared = new WeakSet<object>();

/**
 * Checks a message and freezes a copy of it. A prepared message comes back as it is, so preparing it once and sending it
 * often costs once, and streams are read once.
 *
 * @throws {TypeError} when any field is not valid; the error names the field and never what it holds
 * @example
 * ```ts
 * import { prepareMessage } from "@holdfast/edge";
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
  if (typeof message !== "object" || message === null) throw refusal("message", "must be an object");
  const { text, html, calendar, sendAt } = message;
  const subject = headerText(message.subject, "subject");
  if (subject.trim() === "") throw refusal("subject", "must not be empty");
  if (text === undefined && html === undefined) throw refusal("text", "or 'html' must be there");
  if (text !== undefined) bodyText(text, "text");
  if (html !== undefined) bodyText(html, "html");
  if (calendar !== undefined) {
    bodyText(calendar.content, "calendar.content");
    if (!METHODS.test(calendar.method)) throw refusal("calendar.method", "must be an iCalendar method");
  }
  if (sendAt !== undefined && !(sendAt instanceof Date && sendAt.getTime() >= 0)) {
    throw refusal("sendAt", "must be a valid date");
  }
  const from = parseAddress(message.from, "from");
  const replyTo = addresses(message.replyTo, "replyTo", new Set());
  const seen = new Set<string>();
  const to = addresses(message.to, "to", seen);
  const cc = addresses(message.cc, "cc", seen);
  const bcc = addresses(message.bcc, "bcc", seen);
  if (seen.size === 0) throw refusal("to", "or 'cc' or 'bcc' must name a recipient");
  const result: PreparedMessage = Object.freeze({
    from,
    to,
    cc,
    bcc,
    replyTo,
    subject,
    ...(text !== undefined && { text }),
    ...(html !== undefined && { html }),
    headers: headersOf(message),
    tags: Object.freeze([...new Set(list(message.tags, "tags").map((tag, i) => named(tag, `tags[${i}]`)))]),
    metadata: record(message.metadata, "metadata"),
    attachments: Object.freeze(list(message.attachments, "attachments").map(prepareAttachment)),
    ...(calendar && { calendar: Object.freeze({ method: calendar.method, content: calendar.content }) }),
    ...(sendAt && { sendAt: new Date(sendAt) }),
  });
  const ids = result.attachments.flatMap(({ contentId }) => contentId ?? []);
  if (new Set(ids).size < ids.length) throw refusal("attachments", "must not share a contentId");
  prepared.add(result);
  return result;
}

/** Everybody who gets the message, in the order to, cc, bcc. */
export function recipientsOf(message: PreparedMessage): readonly Address[] {
  return [...message.to, ...message.cc, ...message.bcc];
}

function list<T>(value: readonly T[] | undefined, what: string): readonly T[] {
  if (value !== undefined && !Array.isArray(value)) throw refusal(what, "must be an array");
  return value ?? [];
}

function addresses(
  value: AddressInput | readonly AddressInput[] | undefined,
  what: string,
  seen: Set<string>,
): readonly Address[] {
  const all = value === undefined
    ? []
    : Array.isArray(value)
    ? value as readonly AddressInput[]
    : [value as AddressInput];
  return Object.freeze(
    all.map((one, i) => parseAddress(one, `${what}[${i}]`)).filter(({ address }) => {
      const known = seen.size;
      return seen.add(address.toLowerCase()).size > known;
    }),
  );
}

function headersOf({ headers, unsubscribe }: Message): Readonly<Record<string, string>> {
  const all: Record<string, string> = { ...record(headers, "headers") };
  if (unsubscribe !== undefined) {
    const { url, mailto } = unsubscribe;
    if (url !== undefined && !(/^https:\/\/[!#-;=?-~]{1,880}$/.test(url) && URL.canParse(url))) {
      throw refusal("unsubscribe.url", "must be an https URL in ASCII");
    }
    const ways = [
      ...(url === undefined ? [] : [`<${url}>`]),
      ...(mailto === undefined ? [] : [`<mailto:${parseAddress(mailto, "unsubscribe.mailto").address}>`]),
    ];
    if (ways.length === 0) throw refusal("unsubscribe", "must have a 'url' or a 'mailto'");
    define(all, "List-Unsubscribe", ways.join(", "));
    if (url !== undefined) define(all, "List-Unsubscribe-Post", "List-Unsubscribe=One-Click");
  }
  const names = Object.keys(all);
  for (const name of names) {
    if (!/^[!-9;-~]{1,126}$/.test(name)) {
      throw refusal("headers", "must have names of visible ASCII without a colon");
    }
    if (STRUCTURAL.test(name)) throw refusal("headers", "must not set what the message's own fields say");
  }
  if (new Set(names.map((name) => name.toLowerCase())).size < names.length || names.length > 100) {
    throw refusal("headers", "must be at most 100 and hold each name once");
  }
  return Object.freeze(all);
}

function record(
  value: Readonly<Record<string, string>> | undefined,
  what: string,
): Readonly<Record<string, string>> {
  const all: Record<string, string> = {};
  for (const [key, text] of Object.entries(value ?? {})) {
    define(all, named(key, what), headerText(text, what));
  }
  return Object.freeze(all);
}

/** `__proto__` is a name like any other. */
function define(all: Record<string, string>, name: string, value: string): void {
  Object.defineProperty(all, name, { value, enumerable: true });
}

function named(value: string, what: string): string {
  const text = headerText(value, what);
  if (text === "" || text.length > 256) throw refusal(what, "must be 1 to 256 characters");
  return text;
}

/** Bodies are encoded, so anything goes but what has no encoding, or that mail programs cut off at. */
function bodyText(value: unknown, what: string): void {
  if (typeof value !== "string" || value === "") throw refusal(what, "must be a string that is not empty");
  if (value.includes("\0") || !value.isWellFormed()) {
    throw refusal(what, "must not hold NUL or lone surrogates");
  }
}
