/** Judges a history of critical sections. */
import type { Event } from "./recorder.ts";

/** The result of a run. */
export interface Verdict {
  readonly sections: number;
  /**
   * Sections that were entered while the permitted number was inside, none of which had been notified of its
   * loss.
   */
  readonly overlaps: number;
  /**
   * Sections whose fencing token was not above every earlier one of the key; undefined where there are no
   * tokens.
   */
  readonly notIncreasing: number | undefined;
}

/** Looks at every key's events in the order they happened. */
export function mutualExclusion(events: readonly Event[], permits = 1): Verdict {
  let [sections, overlaps, notIncreasing, tokens] = [0, 0, 0, 0];
  const inside = new Map<string, Set<number>>();
  const highest = new Map<string, number>();
  for (const event of events) {
    const { key, section } = event;
    if (!inside.has(key)) inside.set(key, new Set());
    const holders = inside.get(key)!;
    if (event.kind !== "enter") {
      // A section that was notified, or that ended, leaves: once.
      holders.delete(section);
      continue;
    }
    sections++;
    if (holders.size >= permits) overlaps++;
    holders.add(section);
    if (event.fence === undefined) continue;
    tokens++;
    if (event.fence <= (highest.get(key) ?? -Infinity)) notIncreasing++;
    highest.set(key, Math.max(event.fence, highest.get(key) ?? -Infinity));
  }
  return { sections, overlaps, notIncreasing: tokens > 0 ? notIncreasing : undefined };
}

/** A number that remembers the highest fencing token it has seen, at reads too, and refuses lower ones. */
export class FencedRegister {
  value = 0;
  accepted = 0;
  #highest = -Infinity;

  /** Reads the number; undefined when the token is too old. Without a token every reader is accepted. */
  read(fence: number | undefined): number | undefined {
    return this.#allows(fence) ? this.value : undefined;
  }

  write(fence: number | undefined, value: number): boolean {
    if (!this.#allows(fence)) return false;
    this.value = value;
    this.accepted++;
    return true;
  }

  /** Every accepted write added one: a missing one was overwritten by a writer that had not read it. */
  get lost(): number {
    return this.accepted - this.value;
  }

  #allows(fence: number | undefined): boolean {
    if (fence === undefined) return true;
    if (fence < this.#highest) return false;
    this.#highest = fence;
    return true;
  }
}
