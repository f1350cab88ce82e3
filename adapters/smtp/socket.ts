/** The sockets that the SMTP client needs of a runtime: two streams, and encryption when it is asked for. */

/**
 * A connection. Bytes are read only while they are waited for.
 *
 * @category Mailers
 */
export interface SmtpSocket {
  /** The bytes that the other side sends. */
  readonly readable: ReadableStream<Uint8Array>;
  /** The bytes to send. */
  readonly writable: WritableStream<Uint8Array>;
  /**
   * The IP address of this side, where the runtime tells; names the client in EHLO when there is no better
   * name.
   */
  readonly localAddress?: string | undefined;
  /**
   * Encrypts from here on, once the certificate was found to be valid for that name. Both streams are
   * unlocked; the answer's streams take their place.
   */
  startTls(serverName: string): Promise<SmtpSocket>;
  /** Closes at once, may be called more than once, and never throws. */
  close(): void;
}

/**
 * The server to connect to.
 *
 * @category Mailers
 */
export interface SmtpAddress {
  /** A name or an IP address. */
  readonly hostname: string;
  /** The port. */
  readonly port: number;
  /** Whether `startTls` will be called, at once (`tls`) or later. */
  readonly security: SmtpSecurity;
}

/**
 * `none`: plain text. `starttls`: plain until encrypted, and never further than that without. `tls`: from the
 * first byte.
 *
 * @category Mailers
 */
export type SmtpSecurity = "none" | "starttls" | "tls";

/**
 * Opens sockets.
 *
 * @category Mailers
 */
export interface SmtpConnector {
  /**
   * Whether sockets die with the request they were opened in, as on Workers: then no call uses another call's
   * socket.
   */
  readonly perRequest: boolean;
  /**
   * The host name of this machine, where the runtime has it without a permission or a request; never throws.
   */
  hostname?(): string | undefined;
  /** Opens one; with `tls`, `startTls` is called before anything else. */
  connect(address: SmtpAddress, signal: AbortSignal): Promise<SmtpSocket>;
}
