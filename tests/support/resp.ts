/** A small Redis client on a plain socket: bytes in, bytes out, as the REST endpoint needs them. */

/** A reply: bytes for bulk strings, a string for a status, a number or what is too long for one, an error as a value. */
export type Reply = Uint8Array | string | number | bigint | null | RedisError | Reply[];

/** An error reply of Redis. */
export class RedisError {
  constructor(readonly message: string) {}
}

export class RespConnection {
  readonly #socket: Deno.TcpConn;
  readonly #chunk = new Uint8Array(65_536);
  #buffer = new Uint8Array();
  #at = 0;
  broken = false;

  private constructor(socket: Deno.TcpConn) {
    this.#socket = socket;
  }

  static async open(port: number): Promise<RespConnection> {
    const socket = await Deno.connect({ hostname: "127.0.0.1", port });
    socket.setNoDelay(true);
    return new RespConnection(socket);
  }

  /** Sends commands at once and reads as many replies. */
  async send(...commands: (string | Uint8Array)[][]): Promise<Reply[]> {
    try {
      await this.#write(encode(commands));
      const replies: Reply[] = [];
      for (const _ of commands) replies.push(await this.read());
      return replies;
    } catch (error) {
      this.broken = true;
      this.close();
      throw error;
    }
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#socket.write(bytes.subarray(at));
  }

  /** The next reply: at once, where all of it is here. */
  read(): Reply | Promise<Reply> {
    const from = this.#at;
    const reply = this.#parse();
    if (reply !== undefined) return reply;
    this.#at = from;
    return this.#fill().then(() => this.read());
  }

  /** `undefined` when the bytes end too early. */
  #parse(): Reply | undefined {
    const end = this.#buffer.indexOf(CR, this.#at);
    if (end < 0 || end + 1 >= this.#buffer.length) return undefined;
    const type = this.#buffer[this.#at];
    const from = this.#at + 1;
    this.#at = end + 2;
    switch (type) {
      case PLUS:
        return decoder.decode(this.#buffer.subarray(from, end));
      case MINUS:
        return new RedisError(decoder.decode(this.#buffer.subarray(from, end)));
      case COLON:
        return end - from > 15
          ? BigInt(decoder.decode(this.#buffer.subarray(from, end)))
          : this.#number(from, end);
      case DOLLAR: {
        const length = this.#number(from, end);
        if (length < 0) return null;
        const begin = this.#at;
        this.#at += length + 2;
        return this.#at > this.#buffer.length ? undefined : this.#buffer.subarray(begin, begin + length);
      }
      case STAR: {
        const length = this.#number(from, end);
        if (length < 0) return null;
        const list: Reply[] = [];
        while (list.length < length) {
          const part = this.#parse();
          if (part === undefined) return undefined;
          list.push(part);
        }
        return list;
      }
    }
    throw new Error("not RESP");
  }

  #number(from: number, end: number): number {
    const negative = this.#buffer[from] === MINUS;
    let value = 0;
    for (let at = from + Number(negative); at < end; at++) value = value * 10 + this.#buffer[at]! - ZERO;
    return negative ? -value : value;
  }

  async #fill(): Promise<void> {
    const rest = this.#buffer.subarray(this.#at);
    const read = await this.#socket.read(this.#chunk);
    if (read === null) throw new Error("Redis closed the connection");
    const joined = new Uint8Array(rest.length + read);
    joined.set(rest);
    joined.set(this.#chunk.subarray(0, read), rest.length);
    this.#buffer = joined;
    this.#at = 0;
  }

  close(): void {
    try {
      this.#socket.close();
    } catch {
      // closed already
    }
  }
}

const [CR, PLUS, MINUS, COLON, DOLLAR, STAR, ZERO] = [13, 43, 45, 58, 36, 42, 48] as const; // \r + - : $ * 0
const decoder = new TextDecoder();
const encoder = new TextEncoder();

function encode(commands: (string | Uint8Array)[][]): Uint8Array {
  // Text is gathered and encoded at once; only bytes need a part of their own.
  const parts: Uint8Array[] = [];
  let text = "";
  for (const command of commands) {
    text += `*${command.length}\r\n`;
    for (const arg of command) {
      if (typeof arg === "string") {
        text += `$${byteLength(arg)}\r\n${arg}\r\n`;
        continue;
      }
      parts.push(encoder.encode(`${text}$${arg.length}\r\n`), arg);
      text = "\r\n";
    }
  }
  if (parts.length === 0) return encoder.encode(text);
  parts.push(encoder.encode(text));
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function byteLength(text: string): number {
  // deno-lint-ignore no-control-regex
  return /^[\x00-\x7f]*$/.test(text) ? text.length : encoder.encode(text).length;
}
