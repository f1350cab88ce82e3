/**
 * The one message model. A message is a plain object; `prepareMessage` checks it once, as hard as every mailer together
 * needs, and freezes a copy, so no mailer checks or cleans anything again.
 */
import { type Address, type AddressInput, headerText, need, parseAddress, shortText } from "./address.ts";
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

/**
 * How to leave a list; at least one of both. Mailbox providers heed the one-click header only when a DKIM signature covers
 * both headers: the services sign them, and so must the server that SMTP speaks to.
 *
 * @see https://www.rfc-editor.org/rfc/rfc8058
 */
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
  need(typeof message === "object" && message, "message", "must be an object");
  const { text, html, calendar, sendAt } = message;
  const subject = headerText(message.subject, "subject");
  need(subject.trim(), "subject", "must not be empty");
  need(text ?? html, "text", "or 'html' must be there");
  need(!sendAt || (sendAt instanceof Date && sendAt.getTime() >= 0), "sendAt", "must be valid");
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
  });
  need(seen.size, "to", "or 'cc' or 'bcc' must be there");
  const ids = result.attachments.flatMap(({ contentId }) => contentId ?? []);
  need(new Set(ids).size === ids.length, "attachments", "must not share a contentId");
  prepared.add(result);
  return result;
}

/** Everybody who gets the message, in the order to, cc, bcc. */
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
  const all = (value === undefined ? [] : [value].flat()) as readonly AddressInput[];
  return Object.freeze(
    all.map((one, i) => parseAddress(one, `${what}[${i}]`)).filter(({ address }) => {
      const known = seen.size;
      return seen.add(address.toLowerCase()).size > known;
    }),
  );
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
      // What a URL would read otherwise is escaped.
      ways.push(
        `<mailto:${
          parseAddress(mailto, "unsubscribe.mailto").address.replace(/[^\w.@+-]/gu, encodeURIComponent)
        }>`,
      );
    }
    need(ways.length, "unsubscribe", "must have a 'url' or a 'mailto'");
    pairs.push(["List-Unsubscribe", ways.join(", ")]);
    if (url !== undefined) pairs.push(["List-Unsubscribe-Post", "List-Unsubscribe=One-Click"]);
  }
  for (const [name] of pairs) {
    need(
      /^[\w!#$%&'*+.^`|~-]{1,126}$/.test(name) && !STRUCTURAL.test(name),
      "headers",
      "must have plain names that no field sets",
    );
  }
  const names = new Set(pairs.map(([name]) => name.toLowerCase()));
  need(names.size === pairs.length, "headers", "must have each name once");
  return Object.freeze(Object.fromEntries(pairs));
}

function record(
  value: Readonly<Record<string, string>> | undefined,
  what: string,
): Readonly<Record<string, string>> {
  const pairs = Object.entries(value ?? {});
  return Object.freeze(
    Object.fromEntries(pairs.map(([key, text]) => [shortText(key, what), headerText(text, what)])),
  );
}

/** Bodies are encoded, so anything goes but what has no encoding, or that mail programs cut off at. */
function bodyText(value: string | undefined, what: string): string | undefined {
  if (value === undefined) return undefined;
  need(typeof value === "string" && value, what, "must not be empty");
  need(!value.includes("\0") && value.isWellFormed(), what, "must hold no NUL or lone surrogates");
  return value;
}
