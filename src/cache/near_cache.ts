import type { Clock } from "../clock.ts";
import { toMilliseconds } from "../duration.ts";
import { checkInteger, checkOptionNames, type OptionNames } from "../validate.ts";
import type { NearOptions } from "./cache.ts";

const TASK = "create the cache";
const OPTIONS: OptionNames<NearOptions> = { ttl: true, maxEntries: true };

/** A value in this isolate's memory; encoded, so that nothing is shared with the caller. */
interface NearEntry {
  /** `undefined`: the origin had nothing. */
  readonly text: string | undefined;
  /** The names of the tags and of the form: another set is another entry. */
  readonly kind: string;
  /** Monotonic. */
  readonly until: number;
  /** The monotonic time at which it was filled, as far as this isolate knows. */
  readonly filledAt: number;
  /** The monotonic time until which it is fresh in the store. */
  readonly freshUntil: number;
}

/** A value for the near tier. */
export interface NearValue {
  /** `undefined`: the origin had nothing. */
  readonly text: string | undefined;
  /** Milliseconds since it was filled. */
  readonly age: number;
  /** Milliseconds for which it is fresh. */
  readonly fresh: number;
  /** The monotonic time before it was asked for: from there on it may be late, and its freshness runs. */
  readonly sentAt: number;
  /** The counter of changes at that time. */
  readonly changes: number;
}

/**
 * The tier in memory. What was read before a change made here began, and arrives after it, is older than the
 * change and is not kept: each change raises a counter, and a value is kept only under the counter at which
 * its read began.
 */
export class NearCache {
  readonly #entries = new Map<string, NearEntry>();
  readonly #ttl: number;
  readonly #maxEntries: number;
  readonly #clock: Clock;
  #changes = 0;

  /** Checks the options. */
  constructor(options: NearOptions, clock: Clock) {
    checkOptionNames(TASK, options, OPTIONS);
    const { ttl, maxEntries = 1000 } = options;
    this.#ttl = toMilliseconds(ttl, "near.ttl");
    this.#maxEntries = checkInteger(TASK, "near.maxEntries", maxEntries);
    this.#clock = clock;
  }

  /** The counter of changes, to be read before a value is asked for. */
  get changes(): number {
    return this.#changes;
  }

  /** The entry, if it is of this kind and its time is not over. */
  find(key: string, kind: string): NearEntry | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined || entry.kind !== kind || this.#clock.monotonic() >= entry.until) {
      return undefined;
    }
    this.#entries.delete(key); // moves it to the end: the first is the one used longest ago
    this.#entries.set(key, entry);
    return entry;
  }

  /** Keeps a value, unless something was changed here since it was asked for. */
  keep(key: string, kind: string, { text, age, fresh, sentAt, changes }: NearValue): void {
    if (changes !== this.#changes) return;
    this.#entries.delete(key);
    this.#entries.set(key, {
      text,
      kind,
      until: sentAt + Math.min(fresh, this.#ttl),
      filledAt: sentAt - age,
      freshUntil: sentAt + fresh,
    });
    if (this.#entries.size > this.#maxEntries) this.#entries.delete(this.#entries.keys().next().value!);
  }

  /** Forgets the keys, or everything: a change begins or ends. */
  forget(keys?: readonly string[]): void {
    this.#changes++;
    if (keys === undefined) this.#entries.clear();
    else for (const key of keys) this.#entries.delete(key);
  }
}
