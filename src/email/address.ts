/** Email addresses, read strictly: what a server might read in two ways is refused, and so is what could break a line. */

/** Who a message is from or for. */
export interface Address {
  /** What mail programs show instead of the address. */
  readonly name?: string | undefined;
  /** `local@domain`; a domain outside ASCII is kept in its `xn--` form. */
  readonly address: string;
}

/** An address as an object, as `local@domain`, as `Name <local@domain>` or as `"Name, quoted" <local@domain>`. */
export type AddressInput = string | Address;

/** Anything that is not a space, a control character or a separator, and means nothing in the grammar of addresses. */
const ATOM = /^[^\s\p{C}\p{Z}()<>[\]:;@\\,."]+(?:\.[^\s\p{C}\p{Z}()<>[\]:;@\\,."]+)*$/u;
const QUOTED_LOCAL = /^"(?:[^\p{C}\p{Zl}\p{Zp}"\\]|\\[^\p{C}\p{Zl}\p{Zp}])*"$/u;
const DOMAIN =
  /^(?=.{1,253}$)(?:[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?\.)+(?!\d+$)[a-z\d](?:[a-z\d-]{0,61}[a-z\d])?$/;
const WITH_NAME = /^\s*(?:"((?:[^"\\]|\\.)*)"|([^"<>()[\],;:@\\]*?))\s*<([^<>]*)>\s*$/u;
const CONTROL = /[\p{Cc}\p{Zl}\p{Zp}]/u;

/**
 * Refuses what could end a header's line or is no Unicode: control characters, line separators and lone surrogates. Nothing
 * is cleaned, for a cleaned value is not what the caller wrote.
 *
 * @throws {TypeError} when it is not a string, or holds one of those
 */
export function headerText(value: unknown, what: string): string {
  need(typeof value === "string", what, "must be a string");
  need(
    !CONTROL.test(value) && value.isWellFormed(),
    what,
    "must not hold control characters, line breaks or lone surrogates",
  );
  return value;
}

/** Says what is wrong with a field unless it is right; never what it holds. */
export function need(right: unknown, what: string, needs: string): asserts right {
  if (!right) throw new TypeError(`Cannot use '${what}' in a message as it ${needs}`);
}

/**
 * Reads an address: one, and not a list. Domains are lower-cased and non-ASCII ones become their `xn--` form, so two
 * spellings of one mailbox compare equal.
 *
 * @throws {TypeError} when it is none, or could be read in two ways
 * @see https://www.rfc-editor.org/rfc/rfc5322#section-3.4
 * @example
 * ```ts
 * import { parseAddress } from "@holdfast/edge";
 * const { name, address } = parseAddress('"Doe, Jane" <jane@Bücher.example>');
 * if (name !== "Doe, Jane" || address !== "jane@xn--bcher-kva.example") throw new Error("unexpected");
 * ```
 */
export function parseAddress(input: AddressInput, what = "address"): Address {
  let name: string | undefined;
  let text: string;
  if (typeof input === "string") {
    const match = WITH_NAME.exec(headerText(input, what));
    name = (match?.[1]?.replace(/\\(.)/gu, "$1") ?? match?.[2])?.trim();
    text = match ? match[3]! : input.trim();
  } else {
    need(typeof input === "object" && input, what, "must be a string or an object");
    if (input.name !== undefined) name = headerText(input.name, `${what}.name`).trim();
    text = headerText(input.address, `${what}.address`);
  }
  need(!name || name.length <= 256, what, "must have a name of at most 256 characters");
  const at = text.lastIndexOf("@");
  const local = text.slice(0, Math.max(at, 0));
  const domain = asciiDomain(text.slice(at + 1));
  const bytes = new TextEncoder().encode(local).length;
  need(
    (ATOM.test(local) || QUOTED_LOCAL.test(local)) && domain && bytes <= 64 && bytes + domain.length < 254,
    what,
    "must be one address, like local@domain or Name <local@domain>",
  );
  return Object.freeze({ ...(name && { name }), address: `${local}@${domain}` });
}

/** Whether a mail server must know SMTPUTF8 to deliver to this address. */
export function needsSmtpUtf8({ address }: Address): boolean {
  return /[^\0-\x7f]/.test(address);
}

function asciiDomain(domain: string): string | undefined {
  let ascii = domain.toLowerCase();
  // The URL parser knows how to write names in ASCII, but would read ports, paths and much more: letters only.
  if (/^[\p{L}\p{N}\p{M}.-]+$/u.test(domain) && !/^[a-z\d.-]*$/i.test(domain)) {
    try {
      ascii = new URL(`http://${domain}`).hostname;
    } catch {
      return undefined;
    }
  }
  return DOMAIN.test(ascii) || ascii === "localhost" ? ascii : undefined;
}

/** A mailbox as one line of Unicode, its name quoted where that is needed. */
export function formatAddress({ name, address }: Address): string {
  if (!name) return address;
  return `${/["()<>[\],.;:@\\]/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : name} <${address}>`;
}
