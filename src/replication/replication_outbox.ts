/**
 * The outbox records keys before they are written, so that another isolate can ship what this one leaves
 * behind.
 */
import type { Clock } from "../clock.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import type { Entry } from "./replication_queue.ts";
import type { Side } from "./side.ts";
import type { Mark, Work } from "./work.ts";

/**
 * The age in milliseconds up to which a mark stands for further writes of its key. `recover` takes marks that
 * are three times as old (by default): every write that one stands for has ended by then.
 */
const FRESH_MARK = 20_000;
/** The time the outbox keeps marks that are never recovered. */
const KEEP_MARKS = "30d";

export class ReplicationOutbox {
  readonly #side: Side<AtomicStore>;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #background = new Set<Promise<unknown>>();
  #isolate: string | undefined;

  constructor(side: Side<AtomicStore>, clock: Clock, random: () => number) {
    this.#side = side;
    this.#clock = clock;
    this.#random = random;
  }

  /** Records the key before its write. */
  async mark(entry: Entry<Work>, intent: Pick<Work, "end" | "revoke"> = {}): Promise<void> {
    const { work } = entry;
    const at = this.#clock.now();
    const ends = intent.end !== undefined || intent.revoke !== undefined;
    if (ends || work.markedAt === undefined || at - work.markedAt >= FRESH_MARK) {
      const { kind, id } = work;
      // A copy: the mark is removed only if it still reads as it was written.
      const mark: Mark = structuredClone({
        at,
        kind,
        id,
        end: intent.end ?? work.end,
        revoke: intent.revoke ?? work.revoke,
      });
      this.#isolate ??= Math.floor(this.#random() * 2 ** 52).toString(36);
      const key = `${this.#isolate}:${entry.key}`;
      work.markedAt = at;
      work.marking = (work.marking ?? Promise.resolve()).catch(() => {}).then(async () => {
        work.marks.set(key, mark);
        await this.#side.call("outbox", (store, signal) => store.set(key, mark, { ttl: KEEP_MARKS, signal }));
      });
    }
    try {
      await work.marking;
    } catch (error) {
      work.markedAt = undefined;
      throw error;
    }
  }

  /** Removes the marks of work that is done. */
  unmark({ marks }: Work): void {
    for (const [key, mark] of marks) {
      // A mark that stays behind costs a needless comparison in `recover`, nothing else.
      const removed = this.#side.call(
        "outbox",
        (store, signal) => store.compareAndDelete(key, mark, { signal }),
      ).then(() => {}, () => {});
      this.#background.add(removed);
      removed.finally(() => this.#background.delete(removed));
    }
  }

  /** Waits until no mark is being removed. */
  async settled(): Promise<void> {
    await Promise.all(this.#background);
  }

  /** The marks that are older than so many milliseconds, and their keys. */
  async *orphans(olderThan: number): AsyncIterable<readonly [key: string, mark: Mark]> {
    let cursor: string | undefined;
    do {
      const page = await this.#side.call(
        "outbox",
        (store, signal) => store.listPage({ cursor, limit: 100, signal }),
      );
      const marks = await this.#side.call(
        "outbox",
        (store, signal) => store.getMany<Mark>(page.keys, { signal }),
      );
      for (const [i, mark] of marks.entries()) {
        if (mark !== undefined && mark.at <= this.#clock.now() - olderThan) yield [page.keys[i]!, mark];
      }
      cursor = page.cursor;
    } while (cursor !== undefined);
  }
}
