import { unsupported } from "../../src/mail/mail_error.ts";
import type { SmtpAddress, SmtpConnector, SmtpSocket } from "./socket.ts";

/**
 * The part of a socket of `cloudflare:sockets` that is used.
 *
 * @category Mailers
 */
export interface CloudflareSocket {
  /** The bytes that the other side sends. */
  readonly readable: ReadableStream<Uint8Array>;
  /** The bytes to send. */
  readonly writable: WritableStream<Uint8Array>;
  /** Settles when it is connected, or failed to. */
  readonly opened: Promise<unknown>;
  /** Settles when it is closed. */
  readonly closed: Promise<unknown>;
  /** Encrypts from here on. */
  startTls(): CloudflareSocket;
  /** Closes it. */
  close(): Promise<unknown>;
}

/**
 * The `connect` of `cloudflare:sockets`.
 *
 * @category Mailers
 */
export type CloudflareConnect = (
  address: { hostname: string; port: number },
  options: { secureTransport: "off" | "on" | "starttls"; allowHalfOpen: boolean },
) => CloudflareSocket;

/**
 * Sockets of Workers. A socket there dies with the request that opened it, so `send` uses its own, and a
 * `sendBulk()` shares some among its messages. Workers tell neither host name nor address, so set the
 * mailer's `name`. Port 25 is closed to Workers: `connect` answers `unsupported` for it.
 *
 * @category Mailers
 * @example
 * ```ts ignore
 * import { connect } from "cloudflare:sockets";
 * import { cloudflareConnector, smtpMailer } from "@holdfast/edge/smtp";
 *
 * const mailer = smtpMailer({ host: "smtp.example.com", connector: cloudflareConnector(connect) });
 * ```
 */
export function cloudflareConnector(connect: CloudflareConnect): SmtpConnector {
  if (typeof connect !== "function") {
    throw new TypeError("Cannot make a connector as it needs the function 'connect' of cloudflare:sockets");
  }
  return {
    perRequest: true,
    async connect({ hostname, port, security }: SmtpAddress): Promise<SmtpSocket> {
      if (port === 25) throw unsupported("smtp", "port 25 on Workers: use 465 or 587");
      const secureTransport = ({ none: "off", starttls: "starttls", tls: "on" } as const)[security];
      const opened = connect({ hostname, port }, { secureTransport, allowHalfOpen: false });
      const wrapped = socket(opened, security === "tls");
      // With TLS from the first byte it opens when the certificate was checked: that is for `startTls` to
      // wait for.
      if (security !== "tls") await opened.opened;
      return wrapped;
    },
  };
}

function socket(inner: CloudflareSocket, encrypted: boolean): SmtpSocket {
  const ignore = () => {};
  inner.opened.catch(ignore); // reading and writing report it
  inner.closed.catch(ignore);
  return {
    readable: inner.readable,
    writable: inner.writable,
    async startTls() {
      const next = encrypted ? inner : inner.startTls();
      const wrapped = socket(next, true);
      await next.opened;
      return wrapped;
    },
    close() {
      inner.close().catch(ignore);
    },
  };
}
