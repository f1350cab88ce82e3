/**
 * The header fields that caching is decided by, parsed: Cache-Control, dates, Age, lists. RFC 9111 and RFC
 * 9110.
 */

/**
 * Directives by their names in lower case; of a name that stands twice the first counts (RFC 9111 §4.2.1).
 */
export type Directives = ReadonlyMap<string, string>;

/** One member of a list: no comma outside a quoted string. */
const MEMBER = /(?:"(?:[^"\\]|\\.)*"|[^",])+/y;
const DIRECTIVE = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^"]*)))?$/;
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+/;

/** The members of a list field, trimmed; a comma in a quoted string separates nothing. */
export function listMembers(text: string): string[] {
  const members: string[] = [];
  for (let at = 0; at < text.length;) {
    MEMBER.lastIndex = at;
    const found = MEMBER.exec(text)?.[0];
    if (found?.trim()) members.push(found.trim());
    at += found?.length ?? 1; // a comma, or a quote that never ends
  }
  return members;
}

/**
 * Parses Cache-Control. A member that is malformed keeps its name and has no value: `no-store junk` still
 * forbids.
 */
export function parseDirectives(text: string | null): Directives {
  const directives = new Map<string, string>();
  if (text === null) return directives;
  for (const member of listMembers(text)) {
    const [, name, quoted, plain] = DIRECTIVE.exec(member) ?? [];
    const key = (name ?? NAME.exec(member)?.[0])?.toLowerCase();
    if (key === undefined || directives.has(key)) continue;
    directives.set(key, quoted?.replace(/\\(.)/g, "$1") ?? plain ?? "");
  }
  return directives;
}

/** The longest lifetime that counts: 2^31 seconds, as RFC 9111 §1.2.2 has it. */
const MAX_SECONDS = 2_147_483_648;

/**
 * A directive's seconds in milliseconds; `undefined` where it is missing, `NaN` where it is no whole number.
 */
export function directiveTime(directives: Directives, name: string): number | undefined {
  const text = directives.get(name);
  return text === undefined ? undefined : seconds(text);
}

function seconds(text: string): number {
  return /^\d+$/.test(text) ? Math.min(Number(text), MAX_SECONDS) * 1000 : NaN;
}

/**
 * The milliseconds of an Age field, 0 where there is none, the longest time where it cannot be read. RFC 9111
 * §5.1 would have a malformed Age ignored; a response of an age that is not known is taken for stale here,
 * which is always allowed.
 */
export function ageOf(text: string | null): number {
  if (text === null) return 0;
  const age = seconds(text.trim());
  return Number.isNaN(age) ? MAX_SECONDS * 1000 : age;
}

/** The three forms of a date that RFC 9110 §5.6.7 has readers accept. */
const DATES = [
  /^[a-z]{3}, \d{2} [a-z]{3} \d{4} \d{2}:\d{2}:\d{2} gmt$/i,
  /^[a-z]{6,9}, \d{2}-[a-z]{3}-\d{2} \d{2}:\d{2}:\d{2} gmt$/i,
  /^[a-z]{3} [a-z]{3} [ \d]\d \d{2}:\d{2}:\d{2} \d{4}$/i,
];

/** A date in milliseconds since the epoch; `undefined` where there is none that can be read. */
export function parseDate(text: string | null): number | undefined {
  if (text === null) return undefined;
  const form = DATES.findIndex((date) => date.test(text));
  if (form < 0) return undefined;
  let time = Date.parse(form === 2 ? `${text} GMT` : text);
  // Two digits of a year that seem more than 50 years ahead are in the past (RFC 9110 §5.6.7).
  if (form === 1 && time > Date.now() + 50 * 31_557_600_000) {
    time = Date.parse(text.replace(/-(\d\d) /, "-19$1 "));
  }
  return Number.isNaN(time) ? undefined : time;
}

/** An entity tag without its weakness, for the weak comparison of RFC 9110 §8.8.3.2. */
export function opaqueTag(tag: string): string {
  return tag.startsWith("W/") ? tag.slice(2) : tag;
}
