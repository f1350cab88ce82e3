/** Sends a message per case, and tells what became of it; runs in every runtime. */
import {
  cloudflareConnector,
  denoConnector,
  nodeConnector,
  type SmtpAuth,
  type SmtpConnector,
  smtpMailer,
  type SmtpSecurity,
} from "@holdfast/edge/smtp";

export interface MatrixCase {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly security: SmtpSecurity;
  readonly auth?: SmtpAuth | undefined;
}

export interface Answer {
  readonly name: string;
  readonly id?: string | undefined;
  readonly error?: Readonly<Record<string, unknown>>;
}

/** The runtime's sockets, with an authority of the test's own. */
export async function connectorOf(ca: string): Promise<SmtpConnector> {
  const { Deno, navigator } = globalThis as { Deno?: unknown; navigator?: { userAgent?: string } };
  if (Deno) return denoConnector({ caCerts: [ca] });
  if (navigator?.userAgent !== "Cloudflare-Workers") return nodeConnector({ ca: [ca] });
  const name = "cloudflare:sockets"; // only Workers have it
  return cloudflareConnector((await import(name)).connect);
}

export async function scenario(
  { cases, ca }: { cases: readonly MatrixCase[]; ca: string },
): Promise<Answer[]> {
  const connector = await connectorOf(ca);
  const answers: Answer[] = [];
  for (const { name, host, port, security, auth } of cases) {
    const timeouts = { connect: 30_000, command: 30_000, greeting: 30_000, data: 30_000 } as const;
    await using mailer = smtpMailer({
      host,
      port,
      security,
      auth,
      connector,
      timeouts,
      allowPlaintextAuth: true,
    });
    const text = "Grüße\n.\n..\n.end\n" + "x".repeat(2000) + "\n";
    const message = { from: "Jane <jane@example.com>", to: "john@example.com", subject: name, text };
    answers.push(
      await mailer.send(message).then(({ id }) => ({ name, id }), (error) => {
        const { code, phase, delivery, retryable, status, cause } = error;
        const told = [error.message, cause?.message, cause?.cause?.message].join(" / ");
        return { name, error: { code, phase, delivery, retryable, status, told } };
      }),
    );
  }
  return answers;
}
