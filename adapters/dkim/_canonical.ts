/** The relaxed canonical forms of RFC 6376, 3.4. */

/** A header field, its name in lower case and its value on one line. */
export function relaxedHeader(name: string, value: string): string {
  return `${name.toLowerCase().trim()}:${value.replace(/\r\n/g, "").replace(/[ \t]+/g, " ").trim()}`;
}

/** The header fields of a head, unfolded no further than needed: name and raw value, in their order. */
export function headerFields(head: string): { readonly name: string; readonly value: string }[] {
  return head.split(/\r\n(?![ \t])/).filter((line) => line !== "").map((line) => {
    const colon = line.indexOf(":");
    return { name: line.slice(0, colon).trim().toLowerCase(), value: line.slice(colon + 1) };
  });
}

const CR = 13;
const LF = 10;
const SPACE = 32;
const TAB = 9;

/**
 * A body, piece by piece: runs of blanks become one space, blanks at the end of a line and empty lines at the
 * end of the body go. An empty body stays empty.
 */
export function* relaxedBody(chunks: Iterable<Uint8Array>): Generator<Uint8Array> {
  // What may still turn out to be at the end of a line, or of the body, waits here.
  let blank = false;
  let breaks = 0;
  let empty = true;
  for (const chunk of chunks) {
    const out = new Uint8Array(chunk.length + 2 * breaks + 1);
    let to = 0;
    for (const byte of chunk) {
      if (byte === CR) continue; // a line break is always CRLF here
      if (byte === LF) {
        breaks++;
        blank = false;
      } else if (byte === SPACE || byte === TAB) blank = true;
      else {
        for (; breaks > 0; breaks--) {
          out[to++] = CR;
          out[to++] = LF;
        }
        if (blank) out[to++] = SPACE;
        blank = false;
        empty = false;
        out[to++] = byte;
      }
    }
    if (to > 0) yield out.subarray(0, to);
  }
  if (!empty) yield Uint8Array.of(CR, LF);
}
