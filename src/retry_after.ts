/**
 * The longest wait that a server may ask for, in milliseconds: a day. One that asks for more is asked again
 * after a day, and refuses once more if it must.
 */
export const MAX_RETRY_AFTER = 86_400_000;

/**
 * Reads a Retry-After header as milliseconds from now, at most a day.
 *
 * @returns `undefined` when the header is absent, unreadable or in the past
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-retry-after
 */
export function parseRetryAfter(header: string | null | undefined, now: number): number | undefined {
  if (header === null || header === undefined) return undefined;
  const text = header.trim();
  const milliseconds = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now;
  return milliseconds > 0 ? Math.min(milliseconds, MAX_RETRY_AFTER) : undefined;
}
