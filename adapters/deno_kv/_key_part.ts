/** The size of the parts of a key in Deno KV, which keeps a string as its UTF-8. */

const encoder = new TextEncoder();

/** The bytes of a string as a part of a key: its UTF-8, with two for a NUL, between a tag and an end. */
export function keyPartBytes(part: string): number {
  return 2 + encoder.encode(part).length + part.split("\0").length - 1;
}
