/** An SMTP server that does what a test says: it plays along until a step, and there does something else. */

/** A client of a scripted server: the lines it sent, and the ways to answer. */
export interface Peer {
  /** Everything the client has said. */
  readonly heard: string[];
  /** The number of connections before this one. */
  readonly number: number;
  /** The next line, without its end; `undefined` when the client has left. */
  line(): Promise<string | undefined>;
  /** Sends text as it is. */
  send(text: string): Promise<void>;
  /** Sends lines. */
  say(...lines: string[]): Promise<void>;
  /** Closes. */
  close(): void;
}

/** A server on a port of its own. */
export interface ScriptedServer extends AsyncDisposable {
  readonly port: number;
  /** The dialogue on each connection, in order. */
  readonly connections: readonly Peer[];
}

/** Starts a server that plays `script` on every connection. */
export function startScripted(script: (peer: Peer) => Promise<void>): ScriptedServer {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const connections: Peer[] = [];
  const playing = new Set<Promise<void>>();
  const accepting = (async () => {
    for await (const connection of listener) {
      const peer = peerOf(connection, connections.length);
      connections.push(peer);
      const play = script(peer).catch(() => {}).finally(() => peer.close());
      playing.add(play);
    }
  })();
  return {
    port: (listener.addr as Deno.NetAddr).port,
    connections,
    async [Symbol.asyncDispose]() {
      listener.close();
      connections.forEach((peer) => peer.close());
      await accepting;
      await Promise.all(playing);
    },
  };
}

function peerOf(connection: Deno.TcpConn, number: number): Peer {
  connection.setNoDelay(true);
  let buffer = "";
  let open = true;
  const bytes = new Uint8Array(65536);
  const heard: string[] = [];
  const peer: Peer = {
    heard,
    number,
    async line() {
      for (;;) {
        const end = buffer.indexOf("\r\n");
        if (end >= 0) {
          const line = buffer.slice(0, end);
          buffer = buffer.slice(end + 2);
          heard.push(line);
          return line;
        }
        const count = await connection.read(bytes).catch(() => null);
        if (count === null) return undefined;
        buffer += new TextDecoder("latin1").decode(bytes.subarray(0, count));
      }
    },
    async send(text) {
      let rest = Uint8Array.from(text, (c) => c.charCodeAt(0));
      while (rest.length > 0) rest = rest.subarray(await connection.write(rest));
    },
    say: (...lines) => peer.send(lines.map((line) => line + "\r\n").join("")),
    close() {
      if (open) connection.close();
      open = false;
    },
  };
  return peer;
}

/** The steps that a script may replace. */
export type Step = "greeting" | "EHLO" | "AUTH" | "MAIL" | "RCPT" | "DATA" | "body" | "dot" | "RSET" | "QUIT";

/**
 * Replaces a step. It may ask for the usual answer by resolving to `true`; at DATA, `refused` says that no
 * message follows.
 */
export type Deviation = (peer: Peer, line: string) => Promise<boolean | "refused" | void>;

/** A well-behaved server, but for the deviations. */
export function polite(
  deviations: Partial<Record<Step, Deviation>> = {},
  extensions: readonly string[] = ["PIPELINING", "SIZE 1000000", "8BITMIME", "ENHANCEDSTATUSCODES"],
): (peer: Peer) => Promise<void> {
  return async (peer) => {
    const at = async (step: Step, line: string, usual: string[]) => {
      const deviation = deviations[step];
      const result = deviation === undefined ? true : await deviation(peer, line);
      if (result === true) await peer.say(...usual);
      return result;
    };
    await at("greeting", "", ["220 scripted ESMTP"]);
    for (;;) {
      const line = await peer.line();
      if (line === undefined) return;
      const verb = line.split(" ", 1)[0]!.toUpperCase();
      if (verb === "EHLO") {
        const all = ["scripted", ...extensions];
        await at("EHLO", line, all.map((text, i) => `250${i === all.length - 1 ? " " : "-"}${text}`));
      } else if (verb === "AUTH") await at("AUTH", line, ["235 2.7.0 ok"]);
      else if (verb === "MAIL" || verb === "RCPT" || verb === "RSET") await at(verb, line, ["250 2.0.0 ok"]);
      else if (verb === "DATA") {
        if (await at("DATA", line, ["354 go ahead"]) === "refused") continue;
        for (let first = true;; first = false) {
          const content = await peer.line();
          if (content === undefined) return;
          if (first && deviations.body) await deviations.body(peer, content);
          if (content === ".") break;
        }
        await at("dot", line, [`250 2.0.0 Ok: queued as N${peer.number}`]);
      } else if (verb === "QUIT") {
        await at("QUIT", line, ["221 bye"]);
        return;
      } else await peer.say("500 5.5.1 unknown");
    }
  };
}
