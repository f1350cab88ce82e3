/**
 * A response body that is read once and serves two: its client, as it comes, and the store, whole.
 *
 * One reader reads the source, one buffer keeps what was read. The source is read as fast as it produces
 * while the answer may still be stored, whether the client reads or not: whether an answer is kept must not
 * depend on its client. The client reads from the buffer at its own pace. Beyond `maxBytes` the answer cannot
 * be stored; from there on the buffer is a queue for the client alone, and the source is read when the queue
 * is empty.
 *
 * A client that leaves stops nothing: the source is read to its end, for the request that will come back.
 */
import { concatBytes } from "../read_stream.ts";

/** The end of a body. */
export type TeeOutcome =
  /** The source ended: its bytes, or `undefined` when there were more than can be kept. */
  | { readonly state: "whole"; readonly bytes: Uint8Array<ArrayBuffer> | undefined }
  /** The source failed: it produces no more. */
  | { readonly state: "failed"; readonly error: unknown }
  /** The source was told to stop, as its client left and `stop` was called: it may still produce. */
  | { readonly state: "stopped" };

/** After so many chunks the event loop gets a turn: a source that always has one at hand would block it. */
const CHUNKS_A_TURN = 64;

/** A body read once for two. */
export class ResponseTee {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #maxBytes: number;
  /**
   * While the answer may be stored: all chunks from the first on. After that: those the client has not read.
   */
  #chunks: Uint8Array<ArrayBuffer>[] = [];
  /** The index of the chunk that the client reads next. */
  #next = 0;
  #size = 0;
  #storable = true;
  #outcome: TeeOutcome | undefined;
  #clientLeft = false;
  #stopped = false;
  /** Wakes those who wait for a change of the state above; each wait looks again. */
  #wake: (() => void) | undefined;
  #changed: Promise<void>;

  /**
   * Begins to read.
   *
   * @throws {TypeError} when the body is being read already
   */
  constructor(body: ReadableStream<Uint8Array>, maxBytes: number) {
    this.#reader = body.getReader();
    this.#maxBytes = maxBytes;
    this.#changed = new Promise((resolve) => this.#wake = resolve);
    this.#pump();
  }

  /** The outcome when the body has ended before the event loop turns, as one made of text or bytes has. */
  async atHand(): Promise<TeeOutcome | undefined> {
    let timer: ReturnType<typeof setTimeout>;
    let late = false;
    const turn = new Promise<void>((resolve) =>
      timer = setTimeout(() => {
        late = true;
        resolve();
      }, 0)
    );
    while (this.#outcome === undefined && this.#storable && !late) {
      await Promise.race([this.#changed, turn]);
    }
    clearTimeout(timer!);
    return this.#outcome;
  }

  /** The bytes that were read so far and are still kept. */
  get begun(): Uint8Array<ArrayBuffer> {
    return concatBytes(this.#chunks);
  }

  /**
   * The whole body for the client. Its end, or its error, is passed on when `settle` is done: a client that
   * has seen the last byte may come back at once, and finds what was stored.
   */
  passOn(settle: (outcome: TeeOutcome) => Promise<void>): ReadableStream<Uint8Array> {
    const settled = this.#ended().then(settle).catch(() => {});
    return new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        while (this.#next >= this.#chunks.length && this.#outcome === undefined) await this.#changed;
        if (this.#clientLeft) return;
        if (this.#next < this.#chunks.length) return controller.enqueue(this.#take());
        await settled;
        if (this.#clientLeft) return;
        const outcome = this.#outcome!;
        if (outcome.state === "failed") controller.error(outcome.error);
        else controller.close();
      },
      cancel: () => {
        this.#clientLeft = true;
        if (!this.#storable) this.#chunks = [];
        this.#notify();
        this.#stopReading();
      },
    }, { highWaterMark: 0 });
  }

  /**
   * Ends the reading for the store: of a client that left, at once and with the source; a client that is
   * there still gets the body.
   */
  stop(): void {
    this.#stopped = true;
    this.#stopReading();
  }

  #stopReading(): void {
    if (!this.#clientLeft || !this.#stopped || this.#outcome !== undefined) return;
    this.#end({ state: "stopped" });
    this.#reader.cancel().catch(() => {});
  }

  async #ended(): Promise<TeeOutcome> {
    while (this.#outcome === undefined) await this.#changed;
    return this.#outcome;
  }

  /** The only place that reads: one read at a time, each chunk kept once. */
  async #pump(): Promise<void> {
    try {
      for (let count = 1; this.#outcome === undefined; count++) {
        const { value, done } = await this.#reader.read();
        if (done) {
          return this.#end({ state: "whole", bytes: this.#storable ? concatBytes(this.#chunks) : undefined });
        }
        this.#keep(value);
        if (count % CHUNKS_A_TURN === 0) await new Promise((resolve) => setTimeout(resolve, 0));
        while (!this.#storable && !this.#clientLeft && this.#next < this.#chunks.length) await this.#changed;
      }
    } catch (error) {
      this.#reader.cancel(error).catch(() => {}); // of a chunk that no body may hold; otherwise it has failed already
      this.#end({ state: "failed", error });
    }
  }

  #keep(value: unknown): void {
    const chunk = bytesOf(value);
    if (this.#clientLeft && !this.#storable) return;
    this.#chunks.push(chunk);
    // An empty chunk counts too, or a source of empty chunks would be read for ever.
    this.#size += chunk.length || 1;
    if (this.#storable && this.#size > this.#maxBytes) {
      this.#storable = false;
      this.#chunks = this.#clientLeft ? [] : this.#chunks.slice(this.#next);
      this.#next = 0;
    }
    this.#notify();
  }

  /**
   * The next chunk for the client: a copy while the store may need it, as a server may take the memory away.
   */
  #take(): Uint8Array {
    if (this.#storable) return this.#chunks[this.#next++]!.slice();
    const chunk = this.#chunks.shift()!;
    this.#notify(); // the pump waits for an empty queue
    return chunk;
  }

  #end(outcome: TeeOutcome): void {
    this.#outcome ??= outcome;
    this.#notify();
  }

  #notify(): void {
    const wake = this.#wake!;
    this.#changed = new Promise((resolve) => this.#wake = resolve);
    wake();
  }
}

/** A copy of a chunk's bytes, as its maker may use the memory again. Bun takes text in a body, too. */
function bytesOf(chunk: unknown): Uint8Array<ArrayBuffer> {
  if (typeof chunk === "string") return new TextEncoder().encode(chunk);
  if (chunk instanceof Uint8Array) return new Uint8Array(chunk);
  throw new TypeError(`Cannot pass on the body as its chunks must be bytes: current type is ${typeof chunk}`);
}
