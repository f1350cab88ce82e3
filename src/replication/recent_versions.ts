/** The versions of sessions that this isolate saw lately. */
export class RecentVersions {
  readonly #versions = new Map<string, number>();
  readonly #max: number;

  /** Keeps the `max` sessions seen last. */
  constructor(max: number) {
    this.#max = max;
  }

  get(key: string): number | undefined {
    return this.#versions.get(key);
  }

  /** Notes the version that a read or a write returned. */
  note(key: string, version: number): void {
    this.#versions.delete(key); // so that it becomes the newest entry
    this.#versions.set(key, version);
    if (this.#versions.size <= this.#max) return;
    for (const oldest of this.#versions.keys()) {
      this.#versions.delete(oldest);
      break;
    }
  }
}
