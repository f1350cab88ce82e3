/**
 * Reads the Cookie header of a request.
 *
 * A browser decides about the `__Host-` prefix on the name that it stored, and strips nothing but SP and HTAB
 * from it (RFC 6265bis, 5.7 step 4). A reader that strips more would take `"\u2000__Host-session"`, which a
 * sibling host may set for the whole domain, for `__Host-session`. So nothing but SP and HTAB is stripped
 * here, and names are compared exactly.
 *
 * @see https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis
 */

/**
 * The values of all cookies with that name, in the header's order.
 *
 * The order proves nothing: a cookie with a longer path stands first, whichever host set it.
 */
export function cookieValues(header: string | null | undefined, name: string): string[] {
  const values: string[] = [];
  if (!header?.includes(name)) return values; // the usual request without a session costs one search
  for (let start = 0; start <= header.length;) {
    const semicolon = header.indexOf(";", start);
    const end = semicolon < 0 ? header.length : semicolon;
    const pair = header.slice(start, end);
    const equals = pair.indexOf("=");
    if (equals >= 0 && stripped(pair.slice(0, equals)) === name) {
      values.push(stripped(pair.slice(equals + 1)));
    }
    start = end + 1;
  }
  return values;
}

/** The text without SP and HTAB around it; a regular expression would rescan runs of blanks. */
function stripped(text: string): string {
  let start = 0, end = text.length;
  while (start < end && isBlank(text.charCodeAt(start))) start++;
  while (end > start && isBlank(text.charCodeAt(end - 1))) end--;
  return text.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
