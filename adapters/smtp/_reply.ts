/** A server's replies, read from a socket, whatever pieces they come in. */

/** What the server said. */
export interface Reply {
  /** From 200 to 599. */
  readonly code: number;
  /** Such as `5.1.1`, where there is one. */
  readonly enhanced: string | undefined;
  /** Its text, line by line, the enhanced code included. */
  readonly lines: readonly string[];
}

/** The connection ended, or what came over it was no reply. */
export class WireFault extends Error {}

/** RFC 5321 allows 512, real servers take more, nobody needs this much. */
const MAX_LINE = 4096;
const MAX_LINES = 128;

/** Reads replies, and never more than somebody waits for. */
export class ReplyReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  // One byte is one character, so nothing can hide in a half-decoded one.
  readonly #decoder = new TextDecoder("latin1");
  #buffer = "";
  #ended = false;
  #pending: Promise<void> | undefined;

  constructor(readable: ReadableStream<Uint8Array>) {
    this.#reader = readable.getReader();
  }

  /** Whether there is something that no reply has used, or the end. */
  get spoken(): boolean {
    return this.#buffer !== "" || this.#ended;
  }

  /** Whether what it said is that it leaves, which it may say at any time. */
  get leaving(): boolean {
    return this.#buffer.startsWith("421");
  }

  /** Waits for more; calls share what is under way, so an abandoned wait loses nothing. */
  more(): Promise<void> {
    return this.#pending ??= this.#reader.read().then(({ value, done }) => {
      if (done) this.#ended = true;
      else this.#buffer += this.#decoder.decode(value);
      this.#pending = undefined;
    }, (cause) => {
      this.#ended = true;
      throw new WireFault("the connection was lost", { cause });
    });
  }

  /**
   * The next reply.
   *
   * @throws {WireFault} when the connection ends, or this is no reply
   */
  async next(): Promise<Reply> {
    const lines: string[] = [];
    for (;;) {
      const [, code, dash, text = ""] = /^([2-5]\d\d)(?:([ -])(.*))?$/.exec(await this.#line()) ?? [];
      if (code === undefined || lines.length >= MAX_LINES || (lines.length > 0 && lines[0] !== code)) {
        throw new WireFault("the server's reply is not one of SMTP");
      }
      if (lines.length === 0) lines.push(code);
      lines.push(text);
      if (dash === "-") continue;
      const enhanced = /^[245]\.\d{1,3}\.\d{1,3}(?= |$)/.exec(text)?.[0];
      return { code: Number(code), enhanced, lines: lines.slice(1) };
    }
  }

  /** Lets go of the stream; nothing must be under way. */
  release(): void {
    this.#reader.releaseLock();
  }

  async #line(): Promise<string> {
    for (;;) {
      const end = this.#buffer.indexOf("\n");
      if (end > MAX_LINE || (end < 0 && this.#buffer.length > MAX_LINE)) {
        throw new WireFault("the server's reply is not one of SMTP");
      }
      if (end >= 0) {
        const line = this.#buffer.slice(0, end).replace(/\r$/, "");
        this.#buffer = this.#buffer.slice(end + 1);
        return line;
      }
      if (this.#ended) throw new WireFault("the connection was closed");
      await this.more();
    }
  }
}
