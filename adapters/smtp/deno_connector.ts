import type { SmtpAddress, SmtpConnector, SmtpSocket } from "./socket.ts";

/** Options of {@linkcode denoConnector}. */
export interface DenoConnectorOptions {
  /**
   * Certificates (PEM) to trust besides the runtime's own: a private authority's.
   * @default {[]}
   */
  readonly caCerts?: readonly string[];
}

/** What we use of a `Deno.Conn`. */
interface Connection {
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  close(): void;
}

/** What we use of `Deno`. */
interface DenoNet {
  connect(options: { hostname: string; port: number; signal: AbortSignal }): Promise<
    Connection & { setNoDelay(on?: boolean): void }
  >;
  startTls(
    connection: Connection,
    options: { hostname: string; caCerts: string[] },
  ): Promise<Connection & { handshake(): Promise<unknown> }>;
}

/**
 * Sockets of Deno. Needs `--allow-net` for the server's host and port alone.
 *
 * @example
 * ```ts
 * import { denoConnector, smtpMailer } from "@holdfast/edge/smtp";
 * const caCerts: string[] = []; // [await Deno.readTextFile("ca.pem")]
 * await using mailer = smtpMailer({ connector: denoConnector({ caCerts }), host: "smtp.internal" });
 * if (mailer.name !== "smtp") throw new Error("unexpected");
 * ```
 */
export function denoConnector(options: DenoConnectorOptions = {}): SmtpConnector {
  const caCerts = [...options.caCerts ?? []];
  const deno = (globalThis as unknown as { Deno: DenoNet }).Deno;

  function socket(connection: Connection): SmtpSocket {
    return {
      readable: connection.readable,
      writable: connection.writable,
      async startTls(hostname) {
        const encrypted = await deno.startTls(connection, { hostname, caCerts });
        try {
          // Otherwise the first read or write would do it, and the fault would seem to be theirs.
          await encrypted.handshake();
        } catch (error) {
          encrypted.close();
          throw error;
        }
        return socket(encrypted);
      },
      close() {
        try {
          connection.close();
        } catch {
          // the end of a stream has closed it
        }
      },
    };
  }

  return {
    perRequest: false,
    async connect({ hostname, port }: SmtpAddress, signal: AbortSignal): Promise<SmtpSocket> {
      const connection = await deno.connect({ hostname, port, signal });
      connection.setNoDelay(true);
      return socket(connection);
    },
  };
}
