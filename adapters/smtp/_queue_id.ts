import type { Reply } from "./_reply.ts";

/** The forms in which servers name what they took: Postfix and its like, Exim, sendmail, and Amazon's. */
const FORMS = [
  /\bqueued as:? <?([^\s<>;,()[\]]+)/i,
  /\bid=<?([^\s<>;,()[\]]+)/i,
  /^(\S+) Message accepted for delivery/i,
  /^OK:? ([\w-]*\d[\w-]{7,})$/i,
];

/** The server's own id of the message, if its reply holds one we know the form of. */
export function queueId({ lines, enhanced = "" }: Reply): string | undefined {
  const text = lines.at(-1)!.slice(enhanced.length, 500).trim(); // an id stands near the beginning
  for (const form of FORMS) {
    const id = form.exec(text)?.[1];
    if (id !== undefined) return id;
  }
  return undefined;
}
