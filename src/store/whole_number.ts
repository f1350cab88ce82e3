/**
 * The number of a text of digits; 0 for none. By hand, as `Number()` costs a cached hit as much as its
 * look.
 */
export function figure(text: string | undefined): number {
  if (text === undefined) return 0;
  let value = 0;
  for (let i = 0; i < text.length; i++) value = value * 10 + text.charCodeAt(i) - 48;
  return value;
}

/** Whether a text is a whole number without a sign, of at most `most` digits. */
export function isWhole(text: string | undefined, most: number): boolean {
  if (text === undefined || text.length === 0 || text.length > most) return false;
  for (let i = 0; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return false;
  }
  return true;
}
