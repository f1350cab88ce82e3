/**
 * Email addresses, read strictly: an address that servers might read in two ways is refused, as is one that
 * could end a line.
 */
import { checkNames, type OptionNames } from "../validate.ts";

/**
 * A mailbox.
 *
 * @category Mail
 */
export interface Address {
  /** The name that mail programs show beside or instead of the address. */
  readonly name?: string | undefined;
  /** `local@domain`; a domain outside ASCII is kept in its `xn--` form. */
  readonly address: string;
}

/**
 * An address as an object, as `local@domain`, as `Name <local@domain>` or as `"Name, quoted" <local@domain>`.
 *
 * @category Mail
 */
export type AddressInput = string | Address;

/**
 * Dots where none may be, spaces, control characters, and the special characters of the grammar of addresses.
 */
const NO_ATOM = /^$|^\.|\.\.|\.$|[\s\p{C}\p{Z}()<>[\]:;@\\,"]/u;
/** A backslash quotes ASCII alone: what servers make of others differs. */
const QUOTED = /^"(?:[^"\\]|\\[ -~])*"$/;
const DOMAIN = /^localhost$|^(?:(?!-)[a-z\d-]{1,63}(?<!-)\.)+(?!\d+$|-)[a-z\d-]{1,63}(?<!-)$/;
const ONE = "must be one address: local@domain or Name <local@domain>";
const QUOTES = `${ONE}, and quotes around a name with signs such as , ; : or .`;
const CONTROL = /[\p{Cc}\p{Zl}\p{Zp}]/u;

/**
 * Refuses text that could end a header's line or is no Unicode: control characters, line separators and lone
 * surrogates. Nothing is cleaned: a cleaned value is not the one that the caller wrote.
 *
 * @throws {TypeError} when it is not a string, or holds one of those
 */
export function headerText(value: unknown, what: string): string {
  const right = typeof value === "string" && !CONTROL.test(value) && value.isWellFormed();
  need(right, what, "must be a string without control characters or lone surrogates");
  return value;
}

/** The same for a text of 1 to 256 characters. */
export function shortText(value: unknown, what: string): string {
  const text = headerText(value, what);
  need(text.trim() && text.length <= 256, what, "must be 1 to 256 characters");
  return text;
}

/** Throws a `TypeError` that names the field, and never its value, unless the condition holds. */
export function need(right: unknown, what: string, needs: string): asserts right {
  if (!right) throw new TypeError(`Cannot send as '${what}' ${needs}`);
}

/**
 * Reads an address: one, and not a list. Domains are lower-cased and non-ASCII ones become their `xn--` form,
 * so two spellings of one mailbox compare equal.
 *
 * @throws {TypeError} when it is none, or could be read in two ways
 * @see https://www.rfc-editor.org/rfc/rfc5322#section-3.4
 * @category Mail
 * @example
 * ```ts
 * import { parseAddress } from "@holdfast/edge/mail";
 * const { name, address } = parseAddress('"Doe, Jane" <jane@Bücher.example>');
 * if (name !== "Doe, Jane" || address !== "jane@xn--bcher-kva.example") throw new Error("unexpected");
 * ```
 */
export function parseAddress(input: AddressInput, what = "address"): Address {
  let name: string | undefined;
  let text: string;
  if (typeof input === "string") {
    text = headerText(input, what).trim();
    if (text.endsWith(">")) {
      const start = text.lastIndexOf("<");
      need(start >= 0, what, ONE);
      name = text.slice(0, start).trim();
      text = text.slice(start + 1, -1);
      // Without quotes, a name with one of these could be more than a name.
      if (QUOTED.test(name)) name = name.slice(1, -1).replace(/\\(.)/g, "$1");
      else need(!/["<>()[\],;:@\\]/.test(name), what, QUOTES);
    }
  } else {
    need(typeof input === "object" && input, what, ONE);
    checkNames(
      `send as '${what}' is given`,
      input,
      { name: true, address: true } satisfies OptionNames<Address>,
    );
    if (input.name !== undefined) name = headerText(input.name, `${what}.name`).trim();
    text = headerText(input.address, `${what}.address`);
  }
  const at = text.lastIndexOf("@");
  const local = text.slice(0, Math.max(at, 0));
  const domain = asciiDomain(text.slice(at + 1));
  const bytes = new TextEncoder().encode(local).length;
  need(
    (!NO_ATOM.test(local) || QUOTED.test(local)) && domain && bytes <= 64 &&
      bytes + domain.length < 254,
    what,
    ONE,
  );
  return Object.freeze({ ...(name && { name }), address: `${local}@${domain}` });
}

/** Tells whether a mail server must know SMTPUTF8 to deliver to this address. */
export function needsSmtpUtf8({ address }: Address): boolean {
  return /[^\0-\x7f]/.test(address);
}

/**
 * The domain in ASCII, by the URL parser. It gets letters and digits only, as it would read ports and paths
 * too.
 */
function asciiDomain(domain: string): string | undefined {
  const url = `http://${domain}`;
  if (!/^[\p{L}\p{N}\p{M}.-]+$/u.test(domain) || !URL.canParse(url)) return undefined;
  return DOMAIN.exec(new URL(url).hostname)?.[0];
}

/**
 * A mailbox as one line of Unicode. Its name is quoted where it has special characters or looks like an
 * encoded word.
 *
 * @category Mail
 * @example
 * ```ts
 * import { formatAddress } from "@holdfast/edge/mail";
 * const mailbox = formatAddress({ name: "Doe, John", address: "john@example.com" });
 * if (mailbox !== '"Doe, John" <john@example.com>') throw new Error("unexpected");
 * ```
 */
export function formatAddress({ name, address }: Address): string {
  if (!name) return address;
  const quoted = /["()<>[\],.;:@\\]|=\?/.test(name);
  return `${quoted ? `"${name.replace(/["\\]/g, "\\$&")}"` : name} <${address}>`;
}
