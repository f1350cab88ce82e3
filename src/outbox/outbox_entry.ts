/** An item in its bucket, the index of an outbox. */
export interface Entry {
  /** `w` waits until `time`, `l` is leased until then; `d` is in doubt and `x` is dead since then. */
  readonly state: string;
  readonly time: number;
  /** The number of leases so far: the number of the attempt under way. */
  readonly attempt: number;
  /** The last attempt after which it was certain that nothing was delivered. */
  readonly known: number;
  /** The attempt at which the count began anew, as when a dead item is tried again. */
  readonly base: number;
  /** The owner of the last lease. */
  readonly owner: string;
  /** The time at which the entry may be forgotten. */
  readonly until: number;
  /** The code of the error of the last attempt, or nothing. */
  readonly code: string;
}

/**
 * Reads an entry. As part of the transitions it is in the subset that compiles to Lua, as is `writeEntry`.
 */
export function readEntry(text: string): Entry {
  const parts = text.split(":");
  return {
    state: parts[0]!,
    time: Number(parts[1]),
    attempt: Number(parts[2]),
    known: Number(parts[3]),
    base: Number(parts[4]),
    owner: parts[5]!,
    until: Number(parts[6]),
    code: parts[7]!,
  };
}

/** Writes an entry. */
export function writeEntry({ state, time, attempt, known, base, owner, until, code }: Entry): string {
  return `${state}:${time}:${attempt}:${known}:${base}:${owner}:${until}:${code}`;
}
