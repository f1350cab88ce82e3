/** What the SMTP client needs of a runtime: a socket of two streams that can start to encrypt. */

/** A connection. Bytes are read only while somebody waits for them. */
export interface SmtpSocket {
  /** What the other side says. */
  readonly readable: ReadableStream<Uint8Array>;
  /** What we say. */
  readonly writable: WritableStream<Uint8Array>;
  /**
   * Encrypts from here on, once the certificate was found to be valid for that name. Both streams are unlocked; the answer's
   * streams take their place.
   */
  startTls(serverName: string): Promise<SmtpSocket>;
  /** Closes at once, may be called more than once, and never throws. */
  close(): void;
}

/** Where to connect to. */
export interface SmtpAddress {
  /** A name or an IP address. */
  readonly hostname: string;
  /** The port. */
  readonly port: number;
  /** Whether `startTls` will be called, at once (`tls`) or later. */
  readonly security: SmtpSecurity;
}

/** `none`: plain text. `starttls`: plain until encrypted, and never further than that without. `tls`: from the first byte. */
export type SmtpSecurity = "none" | "starttls" | "tls";

/** Opens sockets. */
export interface SmtpConnector {
  /** Whether sockets die with the request they were opened in, as on Workers: then no call uses another call's socket. */
  readonly perRequest: boolean;
  /** Opens one; with `tls`, `startTls` is called before anything else. */
  connect(address: SmtpAddress, signal: AbortSignal): Promise<SmtpSocket>;
}
