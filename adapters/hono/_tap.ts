import { joined } from "./_request_body.ts";

type Read = ReadableStreamReadResult<Uint8Array>;

/** Hears of the end: the bytes, unless there were too many, and whether the body came to its end. */
export type TapEnd = (bytes: Uint8Array | undefined, whole: boolean) => Promise<void>;

/** A response body read once for two: for its client, as it comes, and for the store, up to `most` bytes. */
export class Tap {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #most: number;
  readonly #first: Uint8Array[] = [];
  #kept: Uint8Array[] | undefined = [];
  #size = 0;
  #pending: Promise<Read> | undefined;

  /** Throws a `TypeError` when somebody else reads the body. */
  constructor(body: ReadableStream<Uint8Array>, most: number) {
    this.#reader = body.getReader();
    this.#most = most;
  }

  /**
   * Reads what is at hand and answers the bytes when that is all. A body made of text or bytes ends before the event loop
   * turns; one that is still being made does not, however it is labelled, and is not waited for.
   */
  async atHand(): Promise<Uint8Array<ArrayBuffer> | undefined> {
    let timer: ReturnType<typeof setTimeout>;
    const late = new Promise<undefined>((resolve) => timer = setTimeout(() => resolve(undefined), 0));
    try {
      while (this.#kept !== undefined) {
        this.#pending ??= this.#reader.read();
        const read = await Promise.race([this.#pending, late]);
        if (read === undefined) return undefined;
        if (read.done) return joined(this.#kept);
        this.#pending = undefined;
        this.#first.push(read.value);
        this.#keep(read.value);
      }
    } catch {
      // broken already: the client hears of it where it would have
    } finally {
      clearTimeout(timer!);
    }
    return undefined;
  }

  /** What was at hand. */
  get begun(): Uint8Array<ArrayBuffer> {
    return joined(this.#first);
  }

  /** The whole body for the client. When the client goes, the rest is read for its next request, for `patience` at most. */
  passOn(patience: number, end: TapEnd): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>({
      start: (controller) => this.#first.forEach((chunk) => controller.enqueue(chunk)),
      pull: async (controller) => {
        try {
          const { value, done } = await this.#next();
          if (!done) return controller.enqueue(value);
          await end(this.#kept && joined(this.#kept), true);
          controller.close();
        } catch (error) {
          await end(undefined, false);
          controller.error(error);
        }
      },
      cancel: () => void this.#drain(patience, end),
    }, { highWaterMark: 0 });
  }

  #keep(chunk: Uint8Array): void {
    this.#size += chunk.length || 1; // what never ends and is always at hand ends here
    if (this.#size > this.#most) this.#kept = undefined;
    this.#kept?.push(chunk.slice());
  }

  async #next(): Promise<Read> {
    const read = await (this.#pending ?? this.#reader.read());
    this.#pending = undefined;
    if (!read.done) this.#keep(read.value);
    return read;
  }

  async #drain(patience: number, end: TapEnd): Promise<void> {
    let patient = true;
    const timer = setTimeout(() => {
      patient = false;
      this.#reader.cancel().catch(() => {});
    }, patience);
    try {
      while (!(await this.#next()).done);
      await end(this.#kept && joined(this.#kept), patient);
    } catch {
      await end(undefined, false);
    } finally {
      clearTimeout(timer);
    }
  }
}
