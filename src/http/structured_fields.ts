/**
 * Reads an Item of a structured field, exactly as RFC 9651 says: what is not one from its first to its last
 * character is refused.
 *
 * @see https://www.rfc-editor.org/rfc/rfc9651#name-parsing-structured-fields
 */
import { base64ToBytes } from "../codec.ts";

/** The value of an Item or of a parameter. */
export type BareItem =
  | { readonly type: "integer" | "decimal" | "date"; readonly value: number }
  | { readonly type: "string" | "token" | "display-string"; readonly value: string }
  | { readonly type: "bytes"; readonly value: Uint8Array<ArrayBuffer> }
  | { readonly type: "boolean"; readonly value: boolean };

/** A value with its parameters, in their order; of a name that stands twice the last value counts. */
export type Item = BareItem & { readonly parameters: ReadonlyMap<string, BareItem> };

/**
 * Parses a field's value as an Item.
 *
 * @returns `undefined` when it is not one
 */
export function parseItem(text: string): Item | undefined {
  try {
    const reader = new Reader(text);
    reader.spaces();
    const item: BareItem & { parameters?: Item["parameters"] } = bareItem(reader);
    item.parameters = parametersOf(reader);
    reader.spaces();
    return reader.done ? item as Item : undefined;
  } catch (error) {
    if (error === MALFORMED) return undefined;
    throw error;
  }
}

/** Thrown where parsing fails, without a stack: headers are a stranger's text. */
const MALFORMED = Symbol("malformed");

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get done(): boolean {
    return this.#at === this.#text.length;
  }

  /** The next character; empty at the end. */
  get next(): string {
    return this.#text.charAt(this.#at);
  }

  /** The text that a sticky pattern matches here. */
  take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found === undefined) throw MALFORMED;
    this.#at += found.length;
    return found;
  }

  /** Skips spaces; a tab is none. */
  spaces(): void {
    while (this.next === " ") this.#at++;
  }

  /** Skips the character when it is the next one. */
  skip(character: string): boolean {
    if (this.next !== character) return false;
    this.#at++;
    return true;
  }
}

// Each pattern is sticky: it matches where the reader stands.
const KEY = /[a-z*][a-z0-9_.*-]*/y;
const NUMBER = /-?\d+(?:\.\d+)?/y;
const STRING = /"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"/y;
const TOKEN = /[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*/y;
const BYTES = /:[A-Za-z0-9+/]*=*:/y;
const BOOLEAN = /\?[01]/y;
const DISPLAY = /%"(?:[\x20\x21\x23\x24\x26-\x7e]|%[0-9a-f]{2})*"/y;

function bareItem(reader: Reader): BareItem {
  switch (reader.next) {
    case '"':
      return { type: "string", value: reader.take(STRING).slice(1, -1).replace(/\\(.)/g, "$1") };
    case ":":
      return { type: "bytes", value: bytes(reader.take(BYTES).slice(1, -1)) };
    case "?":
      return { type: "boolean", value: reader.take(BOOLEAN) === "?1" };
    case "@": {
      reader.skip("@");
      const { type, value } = number(reader);
      if (type !== "integer") throw MALFORMED;
      return { type: "date", value };
    }
    case "%":
      return { type: "display-string", value: display(reader.take(DISPLAY).slice(2, -1)) };
  }
  if (/[-\d]/.test(reader.next)) return number(reader);
  return { type: "token", value: reader.take(TOKEN) };
}

/** An integer of at most 15 digits, or a decimal of at most 12 before and 3 after the point. */
function number(reader: Reader): { type: "integer" | "decimal"; value: number } {
  const text = reader.take(NUMBER);
  if (reader.next === ".") throw MALFORMED;
  const [whole, fraction] = text.replace("-", "").split(".");
  if (whole!.length > (fraction === undefined ? 15 : 12) || (fraction?.length ?? 0) > 3) throw MALFORMED;
  return { type: fraction === undefined ? "integer" : "decimal", value: Number(text) };
}

/** Base64 whose padding may be left out. */
function bytes(text: string): Uint8Array<ArrayBuffer> {
  try {
    return base64ToBytes(text);
  } catch {
    throw MALFORMED;
  }
}

/** Percent-encoded UTF-8. */
function display(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw MALFORMED;
  }
}

function parametersOf(reader: Reader): Map<string, BareItem> {
  const parameters = new Map<string, BareItem>();
  while (reader.skip(";")) {
    reader.spaces();
    const key = reader.take(KEY);
    const value: BareItem = reader.skip("=") ? bareItem(reader) : { type: "boolean", value: true };
    parameters.set(key, value);
  }
  return parameters;
}
