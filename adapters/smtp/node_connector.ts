import { checkNames, type OptionNames } from "../../src/validate.ts";
import type { SmtpAddress, SmtpConnector, SmtpSocket } from "./socket.ts";

/**
 * Options of {@linkcode nodeConnector}.
 *
 * @category Mailers
 */
export interface NodeConnectorOptions {
  /**
   * Certificates (PEM) to trust instead of the runtime's own: a private authority's.
   * @default {the runtime's own}
   */
  readonly ca?: readonly string[] | undefined;
}

/** The part of a `net.Socket` that is used. */
interface NodeSocket {
  readonly localAddress?: string | undefined;
  readonly readableLength: number;
  on(event: string, listener: (argument: never) => void): unknown;
  once(event: string, listener: (argument: never) => void): unknown;
  removeAllListeners(): unknown;
  pause(): unknown;
  resume(): unknown;
  setNoDelay(on: boolean): unknown;
  write(bytes: Uint8Array, done: (error?: Error | null) => void): unknown;
  destroy(): unknown;
}

/** The part of `node:net` that is used. */
interface NodeNet {
  connect(options: { host: string; port: number }): NodeSocket;
  isIP(host: string): number;
}

/** The part of `node:tls` that is used. */
interface NodeTls {
  connect(options: Record<string, unknown>): NodeSocket;
}

/**
 * Sockets of Node (from 20.16), Bun and Deno. The modules are loaded at the first connection, so no import of
 * theirs reaches a bundle.
 *
 * @category Mailers
 * @example
 * ```ts
 * import { nodeConnector, smtpMailer } from "@holdfast/edge/smtp";
 * await using mailer = smtpMailer({ host: "smtp.example.com", connector: nodeConnector() });
 * if (mailer.name !== "smtp") throw new Error("unexpected");
 * ```
 */
export function nodeConnector(options: NodeConnectorOptions = {}): SmtpConnector {
  checkNames("make a connector", options, { ca: true } satisfies OptionNames<NodeConnectorOptions>);
  const { ca } = options;
  const module = <T>(name: string): T =>
    (globalThis as unknown as { process: { getBuiltinModule(name: string): T } }).process.getBuiltinModule(
      name,
    );

  function socket(inner: NodeSocket): SmtpSocket {
    return {
      ...streams(inner),
      localAddress: inner.localAddress,
      async startTls(host) {
        // These bytes came in plain text: they must not be taken for a part of what is encrypted.
        if (inner.readableLength > 0) throw new Error("the server sent data too early");
        inner.removeAllListeners();
        inner.on("error", () => {}); // the encrypted socket reports it
        const servername = module<NodeNet>("node:net").isIP(host) ? {} : { servername: host };
        const encrypted = module<NodeTls>("node:tls").connect({
          socket: inner,
          host,
          ...servername,
          ...(ca && { ca }),
          rejectUnauthorized: true, // whatever NODE_TLS_REJECT_UNAUTHORIZED says
        });
        await ready(encrypted, "secureConnect");
        return socket(encrypted);
      },
      close() {
        inner.destroy();
      },
    };
  }

  return {
    perRequest: false,
    hostname() {
      if ("Deno" in globalThis) return undefined; // it would ask for a permission
      try {
        return module<{ hostname(): string }>("node:os").hostname();
      } catch {
        return undefined;
      }
    },
    async connect({ hostname, port }: SmtpAddress, signal: AbortSignal): Promise<SmtpSocket> {
      const inner = module<NodeNet>("node:net").connect({ host: hostname, port });
      inner.setNoDelay(true);
      const abort = () => inner.destroy();
      signal.addEventListener("abort", abort);
      try {
        await ready(inner, "connect");
      } finally {
        signal.removeEventListener("abort", abort);
      }
      return socket(inner);
    },
  };
}

function ready(socket: NodeSocket, event: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once(event, resolve as () => void);
    socket.on("error", reject as (error: never) => void);
    socket.once("close", () => reject(new Error("the connection was closed")));
  });
}

/**
 * The two streams of a socket. It is read only on demand, and a write ends when its bytes were handed to the
 * system.
 */
function streams(socket: NodeSocket): Pick<SmtpSocket, "readable" | "writable"> {
  const readable = new ReadableStream<Uint8Array>({
    start(controller) {
      let act = (how: () => void) => {
        act = () => {};
        how();
      };
      socket.pause();
      socket.on("data", (bytes: Uint8Array) => {
        socket.pause();
        controller.enqueue(bytes);
      });
      for (const event of ["end", "close"]) socket.on(event, () => act(() => controller.close()));
      socket.on("error", (error: Error) => act(() => controller.error(error)));
    },
    pull() {
      socket.resume();
    },
  }, { highWaterMark: 0 });
  const writable = new WritableStream<Uint8Array>({
    write(bytes) {
      return new Promise((resolve, reject) => {
        socket.write(bytes, (error) => error ? reject(error) : resolve());
      });
    },
  });
  return { readable, writable };
}
