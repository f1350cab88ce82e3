import { deferred } from "../deferred.ts";
import type { Fill, FillMany } from "./cache.ts";

/** One call of the origin for all keys of a `getMany` that were granted at their first look. */
export class FillBatch<T> {
  readonly #keys: readonly string[];
  readonly #fill: FillMany<T>;
  readonly #granted: number[] = [];
  readonly #pending: Set<number>;
  #values: Promise<Map<number, T>> | undefined;
  readonly #complete = deferred<void>();

  /** Begins with every key's first look ahead. */
  constructor(keys: readonly string[], fill: FillMany<T>) {
    this.#keys = keys;
    this.#fill = fill;
    this.#pending = new Set(keys.keys());
  }

  /** Notes that a key needs no fill now. */
  looked(index: number): void {
    this.#pending.delete(index);
    if (this.#pending.size === 0) this.#complete.resolve();
  }

  /** The fill of one key: part of the batch at the first look, a call of its own later. */
  fillOf(index: number): Fill<T> {
    return async ({ signal }) => {
      if (!this.#pending.has(index)) return (await this.#ask([index], signal)).get(index) as T;
      this.#granted.push(index);
      this.looked(index);
      await this.#complete.promise;
      this.#values ??= this.#ask(this.#granted.sort((a, b) => a - b), signal); // the grants came in any order
      return (await this.#values).get(index) as T;
    };
  }

  async #ask(indexes: readonly number[], signal: AbortSignal): Promise<Map<number, T>> {
    const values = await this.#fill(indexes.map((index) => this.#keys[index]!), { signal });
    if (values.length !== indexes.length) {
      throw new TypeError(`Cannot fill ${indexes.length} values with ${values.length}`);
    }
    return new Map(indexes.map((index, i) => [index, values[i] as T]));
  }
}
