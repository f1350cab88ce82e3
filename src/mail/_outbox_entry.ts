/** A bucket's entry: what its fields mean is said with the transitions. */
export interface Entry {
  readonly s: string;
  readonly t: number;
  readonly a: number;
  readonly k: number;
  readonly b: number;
  readonly o: string;
  readonly x: number;
  readonly c: string;
}

/** Reads an entry. */
export function readEntry(text: string): Entry {
  const parts = text.split(":");
  return {
    s: parts[0]!,
    t: Number(parts[1]),
    a: Number(parts[2]),
    k: Number(parts[3]),
    b: Number(parts[4]),
    o: parts[5]!,
    x: Number(parts[6]),
    c: parts[7]!,
  };
}

/** Writes an entry. */
export function writeEntry({ s, t, a, k, b, o, x, c }: Entry): string {
  return `${s}:${t}:${a}:${k}:${b}:${o}:${x}:${c}`;
}
