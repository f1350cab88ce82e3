/**
 * Replies of the REST protocol: texts travel in base64, or as they are where a proxy ignores that we asked
 * for it.
 */

/** A Redis reply, as far as our scripts make any. */
export type Reply = string | number | null | readonly Reply[];

/**
 * Reads a reply. Texts of our scripts begin with `~`, `=` or `!`, which are no first letters of base64: so the
 * form is told by the reply itself.
 *
 * @returns `undefined` when it is neither
 */
export function decodeReply(reply: unknown): Reply | undefined {
  if (reply === null || typeof reply === "number") return reply;
  if (typeof reply === "string") return decodeText(reply);
  if (!Array.isArray(reply)) return undefined;
  const parts: Reply[] = [];
  for (const part of reply) {
    const decoded = decodeReply(part);
    if (decoded === undefined) return undefined;
    parts.push(decoded);
  }
  return parts;
}

const decoder = new TextDecoder();

function decodeText(text: string): string | undefined {
  if (text === "OK" || /^[~=!]/.test(text)) return text;
  try {
    const native = (Uint8Array as { fromBase64?: (text: string) => Uint8Array }).fromBase64; // newer runtimes
    if (native) return decoder.decode(native.call(Uint8Array, text));
    const binary = atob(text);
    const bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
    return decoder.decode(bytes);
  } catch {
    return undefined;
  }
}
