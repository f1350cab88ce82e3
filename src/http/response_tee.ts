/**
 * A response body that is read once and serves two: its client, as it comes, and the store, whole.
 *
 * One reader reads the source, one buffer keeps what was read. What becomes of the answer in the store is
 * decided once, by the first of these: the source ends, it fails, it passes `maxBytes`, `stop` is called.
 * Until then the source is read as fast as it produces, whether the client reads, waits or has left: whether
 * an answer is kept must not depend on its client. From then on the buffer is a queue for the client alone:
 * the source is read when the queue is empty, and cancelled when the client leaves, as nothing reads it any
 * more.
 */
import { concatBytes } from "../read_stream.ts";

/** The outcome of a body for the store. */
export type TeeOutcome =
  /** The source ended: its bytes. */
  | { readonly state: "whole"; readonly bytes: Uint8Array<ArrayBuffer> }
  /** The source failed: it produces no more. */
  | { readonly state: "failed"; readonly error: unknown }
  /** The source has produced more than `maxBytes`, and may produce more. */
  | { readonly state: "too-large" }
  /** `stop` was called: the source may still produce. */
  | { readonly state: "stopped" };

/** After so many chunks the event loop gets a turn: a source that always has one at hand would block it. */
const CHUNKS_A_TURN = 64;

/** The microtasks for which the outcome is waited for without a timer. */
const STEPS_AT_HAND = 32;

/** A body read once for two. */
export class ResponseTee {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #maxBytes: number;
  /** Until the outcome: all chunks from the first on. After it: those the client has not read. */
  #chunks: Uint8Array<ArrayBuffer>[] = [];
  /** The index of the chunk that the client reads next. */
  #next = 0;
  #size = 0;
  /** Set once. */
  #outcome: TeeOutcome | undefined;
  /** The end of the source for the client, with the error of one that failed. */
  #end: { readonly error?: unknown } | undefined;
  #clientLeft = false;
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

  /**
   * The outcome, when it is known before the event loop turns, as that of a body made of text or bytes is.
   */
  async atHand(): Promise<TeeOutcome | undefined> {
    // A timer costs more than the reading of a short text, which takes runtimes fewer steps than these.
    for (let i = 0; i < STEPS_AT_HAND && this.#outcome === undefined; i++) await undefined;
    if (this.#outcome !== undefined) return this.#outcome;
    let timer: ReturnType<typeof setTimeout>;
    let late = false;
    const turn = new Promise<void>((resolve) =>
      timer = setTimeout(() => {
        late = true;
        resolve();
      }, 0)
    );
    while (this.#outcome === undefined && !late) {
      await Promise.race([this.#changed, turn]);
    }
    clearTimeout(timer!);
    return this.#outcome;
  }

  /**
   * The whole body for the client. Its end, or its error, is passed on when `settle` is done: a client that
   * has seen the last byte may come back at once, and finds what was stored.
   */
  passOn(settle: (outcome: TeeOutcome) => Promise<void>): ReadableStream<Uint8Array> {
    const settled = this.#decided().then(settle).catch(() => {});
    return new ReadableStream<Uint8Array>({
      pull: async (controller) => {
        while (this.#next >= this.#chunks.length && this.#end === undefined) await this.#changed;
        if (this.#clientLeft) return;
        if (this.#next < this.#chunks.length) return controller.enqueue(this.#take());
        await settled;
        if (this.#clientLeft) return;
        if ("error" in this.#end!) controller.error(this.#end.error);
        else controller.close();
      },
      cancel: () => {
        this.#clientLeft = true;
        this.#leave();
        this.#notify();
      },
    }, { highWaterMark: 0 });
  }

  /**
   * Ends the reading for the store, unless its outcome is known: what follows is read for the client alone.
   */
  stop(): void {
    this.#decide({ state: "stopped" });
  }

  async #decided(): Promise<TeeOutcome> {
    while (this.#outcome === undefined) await this.#changed;
    return this.#outcome;
  }

  /** The only place that reads: one read at a time, each chunk kept once. */
  async #pump(): Promise<void> {
    try {
      for (let count = 1; this.#end === undefined; count++) {
        const { value, done } = await this.#reader.read();
        if (done) return this.#finish({}, () => ({ state: "whole", bytes: concatBytes(this.#chunks) }));
        this.#keep(value);
        if (count % CHUNKS_A_TURN === 0) await new Promise((resolve) => setTimeout(resolve, 0));
        while (this.#outcome !== undefined && this.#end === undefined && this.#next < this.#chunks.length) {
          await this.#changed;
        }
      }
    } catch (error) {
      this.#reader.cancel(error).catch(() => {}); // of a chunk that no body may hold; otherwise it has failed already
      this.#finish({ error }, () => ({ state: "failed", error }));
    }
  }

  #keep(value: unknown): void {
    const chunk = bytesOf(value);
    if (this.#end !== undefined) return; // a chunk that was on its way when the client left
    this.#chunks.push(chunk);
    // An empty chunk counts too, or a source of empty chunks would be read for ever.
    this.#size += chunk.length || 1;
    if (this.#size > this.#maxBytes) this.#decide({ state: "too-large" });
    this.#notify();
  }

  /**
   * The next chunk for the client: a copy while the store may need it, as a server may take the memory away.
   */
  #take(): Uint8Array {
    if (this.#outcome === undefined) return this.#chunks[this.#next++]!.slice();
    const chunk = this.#chunks.shift()!;
    this.#notify(); // the pump waits for an empty queue
    return chunk;
  }

  #finish(end: { readonly error?: unknown }, outcome: () => TeeOutcome): void {
    this.#end ??= end;
    if (this.#outcome === undefined) this.#decide(outcome());
    this.#notify();
  }

  #decide(outcome: TeeOutcome): void {
    if (this.#outcome !== undefined) return;
    this.#outcome = outcome;
    this.#chunks = this.#chunks.slice(this.#next);
    this.#next = 0;
    this.#leave();
    this.#notify();
  }

  /** Cancels a source that neither the store nor the client wants. */
  #leave(): void {
    if (!this.#clientLeft || this.#outcome === undefined) return;
    this.#chunks = [];
    if (this.#end !== undefined) return;
    this.#end = {};
    this.#reader.cancel().catch(() => {});
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
