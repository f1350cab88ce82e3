/** Reads a server's replies from a socket, however they are cut into packets. */

/** A reply. */
export interface Reply {
  /** From 200 to 599. */
  readonly code: number;
  /** Such as `5.1.1`, where there is one. */
  readonly enhanced: string | undefined;
  /** Its text, line by line, the enhanced code included. */
  readonly lines: readonly string[];
}

/** The connection ended, or what came over it was no reply. */
export class ConnectionFault extends Error {}

/** Characters in a line: RFC 5321 allows 512, real servers send more. */
const MAX_LINE = 4096;

/** Lines in a reply: EHLO has about twenty. With `MAX_LINE` it bounds a reply to 512 KB. */
const MAX_LINES = 128;

const NO_REPLY = "the server's reply is not one of SMTP";

/** Reads replies, and never more than is waited for. */
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

  /** Whether there is something that belongs to no reply yet, or the end. */
  get hasUnreadData(): boolean {
    return this.#buffer !== "" || this.#ended;
  }

  /** Whether the unread data is a 421: a server may send it at any time before it closes. */
  get isLeaving(): boolean {
    return this.#buffer.startsWith("421");
  }

  /** Waits for more data. Calls share the read under way, so an abandoned wait loses nothing. */
  more(): Promise<void> {
    return this.#pending ??= this.#reader.read().then(({ value, done }) => {
      if (done) this.#ended = true;
      else this.#buffer += this.#decoder.decode(value);
      this.#pending = undefined;
    }, (cause) => {
      this.#ended = true;
      throw new ConnectionFault("the connection was lost", { cause });
    });
  }

  /**
   * Reads the next reply.
   *
   * @throws {ConnectionFault} when the connection ends, or this is no reply of bounded size
   */
  async next(): Promise<Reply> {
    const lines: string[] = [];
    let first: string | undefined;
    for (;;) {
      const [, code, dash, text = ""] = /^([2-5]\d\d)(?:([ -])(.*))?$/.exec(await this.#line()) ?? [];
      if (code === undefined || code !== (first ??= code)) throw new ConnectionFault(NO_REPLY);
      if (lines.length === MAX_LINES) {
        throw new ConnectionFault(`the server's reply has more than ${MAX_LINES} lines`);
      }
      lines.push(text);
      if (dash === "-") continue;
      const enhanced = /^[245]\.\d{1,3}\.\d{1,3}(?= |$)/.exec(text)?.[0];
      return { code: Number(code), enhanced, lines };
    }
  }

  /** Releases the stream; no read may be under way. */
  release(): void {
    this.#reader.releaseLock();
  }

  async #line(): Promise<string> {
    for (;;) {
      const end = this.#buffer.indexOf("\n");
      if (end > MAX_LINE || (end < 0 && this.#buffer.length > MAX_LINE)) {
        throw new ConnectionFault(`the server's reply has a line of more than ${MAX_LINE} characters`);
      }
      if (end >= 0) {
        const line = this.#buffer.slice(0, end).replace(/\r$/, "");
        this.#buffer = this.#buffer.slice(end + 1);
        return line;
      }
      if (this.#ended) throw new ConnectionFault("the connection was closed");
      await this.more();
    }
  }
}
