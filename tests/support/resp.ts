/** A small Redis client on a plain socket: bytes in, bytes out, as the REST endpoint needs them. */

/** A reply: bytes for bulk strings, a string for a status, bigint for integers, an error as a value. */
export type Reply = Uint8Array | string | bigint | null | RedisError | Reply[];

/** What Redis refused. */
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
      for (let i = 0; i < commands.length; i++) replies.push(await this.read());
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

  async read(): Promise<Reply> {
    const line = await this.#line();
    const rest = line.slice(1);
    switch (line[0]) {
      case "+":
        return rest;
      case "-":
        return new RedisError(rest);
      case ":":
        return BigInt(rest);
      case "$": {
        if (rest === "-1") return null;
        return (await this.#take(Number(rest) + 2)).slice(0, -2);
      }
      case "*": {
        if (rest === "-1") return null;
        const list: Reply[] = [];
        for (let i = 0; i < Number(rest); i++) list.push(await this.read());
        return list;
      }
    }
    throw new Error("not RESP");
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

  async #line(): Promise<string> {
    for (;;) {
      const end = this.#buffer.indexOf(13, this.#at);
      if (end >= 0 && end + 1 < this.#buffer.length) {
        const line = decoder.decode(this.#buffer.subarray(this.#at, end));
        this.#at = end + 2;
        return line;
      }
      await this.#fill();
    }
  }

  async #take(length: number): Promise<Uint8Array> {
    while (this.#buffer.length - this.#at < length) await this.#fill();
    const taken = this.#buffer.subarray(this.#at, this.#at + length);
    this.#at += length;
    return taken;
  }

  close(): void {
    try {
      this.#socket.close();
    } catch {
      // closed already
    }
  }
}

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
