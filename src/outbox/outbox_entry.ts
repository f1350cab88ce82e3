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

/** Reads an entry. */
export function readEntry(text: string): Entry {
  const [state = "", time, attempt, known, base, owner = "", until, code = ""] = text.split(":");
  return {
    state,
    time: Number(time),
    attempt: Number(attempt),
    known: Number(known),
    base: Number(base),
    owner,
    until: Number(until),
    code,
  };
}

/** Writes an entry. */
export function writeEntry({ state, time, attempt, known, base, owner, until, code }: Entry): string {
  return [state, time, attempt, known, base, owner, until, code].join(":");
}
