/** A small Redis client on a plain socket: bytes in, bytes out, as the REST endpoint needs them. */

/** A reply: bytes for bulk strings, a string for a status, bigint for integers, an error as a value. */
export type Reply = Uint8Array | string | bigint | null | RedisError | Reply[];

/** What Redis refused. */
export class RedisError {
  constructor(readonly message: string) {}
}

export class RespConnection {
  readonly #socket: Deno.TcpConn;
  #buffer = new Uint8Array();
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
        const bytes = (await this.#take(Number(rest) + 2)).slice(0, -2);
        return bytes;
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
    const chunk = new Uint8Array(65_536);
    const read = await this.#socket.read(chunk);
    if (read === null) throw new Error("Redis closed the connection");
    const joined = new Uint8Array(this.#buffer.length + read);
    joined.set(this.#buffer);
    joined.set(chunk.subarray(0, read), this.#buffer.length);
    this.#buffer = joined;
  }

  async #line(): Promise<string> {
    for (;;) {
      const at = this.#buffer.indexOf(13);
      if (at >= 0 && at + 1 < this.#buffer.length) {
        return new TextDecoder().decode(await this.#take(at + 2)).slice(0, -2);
      }
      await this.#fill();
    }
  }

  async #take(length: number): Promise<Uint8Array> {
    while (this.#buffer.length < length) await this.#fill();
    const taken = this.#buffer.slice(0, length);
    this.#buffer = this.#buffer.slice(length);
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

function encode(commands: (string | Uint8Array)[][]): Uint8Array {
  const encoder = new TextEncoder();
  const parts: Uint8Array[] = [];
  for (const command of commands) {
    parts.push(encoder.encode(`*${command.length}\r\n`));
    for (const arg of command) {
      const bytes = typeof arg === "string" ? encoder.encode(arg) : arg;
      parts.push(encoder.encode(`$${bytes.length}\r\n`), bytes, encoder.encode("\r\n"));
    }
  }
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
