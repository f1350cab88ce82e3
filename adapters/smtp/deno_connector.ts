import { checkNames, type OptionNames } from "../../src/validate.ts";
import type { SmtpAddress, SmtpConnector, SmtpSocket } from "./socket.ts";

/**
 * Options of {@linkcode denoConnector}.
 *
 * @category Mailers
 */
export interface DenoConnectorOptions {
  /**
   * Certificates (PEM) to trust besides the runtime's own: a private authority's.
   * @default {[]}
   */
  readonly caCerts?: readonly string[] | undefined;
}

/** The part of a `Deno.Conn` that is used. */
interface Connection {
  readonly localAddr: { readonly hostname?: string };
  readonly readable: ReadableStream<Uint8Array>;
  readonly writable: WritableStream<Uint8Array>;
  close(): void;
}

/** The part of `Deno` that is used. */
interface DenoNet {
  readonly permissions: {
    querySync(descriptor: { name: "sys"; kind: "hostname" }): { readonly state: string };
  };
  hostname(): string;
  connect(options: { hostname: string; port: number; signal: AbortSignal }): Promise<
    Connection & { setNoDelay(on?: boolean): void }
  >;
  startTls(
    connection: Connection,
    options: { hostname: string; caCerts: string[] },
  ): Promise<Connection & { handshake(): Promise<unknown> }>;
}

/**
 * Sockets of Deno. Needs `--allow-net` for the server's host and port alone; with `--allow-sys=hostname` the
 * client is named by the machine's host name in EHLO, otherwise by its address.
 *
 * @category Mailers
 * @example
 * ```ts
 * import { denoConnector, smtpMailer } from "@holdfast/edge/smtp";
 * const caCerts: string[] = []; // [await Deno.readTextFile("ca.pem")]
 * await using mailer = smtpMailer({ connector: denoConnector({ caCerts }), host: "smtp.internal" });
 * if (mailer.name !== "smtp") throw new Error("unexpected");
 * ```
 */
export function denoConnector(options: DenoConnectorOptions = {}): SmtpConnector {
  checkNames(
    "make a connector",
    options,
    { caCerts: true } satisfies OptionNames<DenoConnectorOptions>,
  );
  const caCerts = [...options.caCerts ?? []];
  const deno = (globalThis as unknown as { Deno: DenoNet }).Deno;

  function socket(connection: Connection): SmtpSocket {
    return {
      readable: connection.readable,
      writable: connection.writable,
      localAddress: connection.localAddr?.hostname,
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
          // the end of a stream closed it already
        }
      },
    };
  }

  return {
    perRequest: false,
    hostname() {
      try {
        // Asked for without permission it would prompt, or throw.
        const { state } = deno.permissions.querySync({ name: "sys", kind: "hostname" });
        return state === "granted" ? deno.hostname() : undefined;
      } catch {
        return undefined;
      }
    },
    async connect({ hostname, port }: SmtpAddress, signal: AbortSignal): Promise<SmtpSocket> {
      const connection = await deno.connect({ hostname, port, signal });
      connection.setNoDelay(true);
      return socket(connection);
    },
  };
}
