import { denoConnector } from "./deno_connector.ts";
import { nodeConnector } from "./node_connector.ts";
import type { SmtpConnector } from "./socket.ts";

/** The sockets that are there without asking. Workers with `nodejs_compat` look like Node, but cannot keep a socket. */
export function runtimeConnector(): SmtpConnector {
  const { Deno, process, navigator } = globalThis as unknown as {
    Deno?: unknown;
    process?: { getBuiltinModule?: unknown };
    navigator?: { userAgent?: string };
  };
  if (Deno) return denoConnector();
  if (process?.getBuiltinModule && navigator?.userAgent !== "Cloudflare-Workers") return nodeConnector();
  throw new TypeError(
    "Cannot make an SMTP mailer as 'connector' must be given in this runtime: cloudflareConnector(connect) on Workers",
  );
}
