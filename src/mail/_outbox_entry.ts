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
  const [s, t, a, k, b, o, x, c] = text.split(":") as [
    string,
    string,
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  return { s, t: Number(t), a: Number(a), k: Number(k), b: Number(b), o, x: Number(x), c };
}

/** Writes an entry. */
export function writeEntry({ s, t, a, k, b, o, x, c }: Entry): string {
  return [s, t, a, k, b, o, x, c].join(":");
}
