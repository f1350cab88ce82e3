/** Sends to servers that misbehave, and tells what became of it; runs in every runtime. */
import { smtpMailer, type SmtpTimeouts } from "@holdfast/edge/smtp";
import { connectorOf } from "./_matrix_scenario.ts";

export interface Fault {
  readonly code: string;
  readonly phase: string;
  readonly delivery: string;
  readonly retryable: boolean;
  readonly status: number | undefined;
  /** Everything the error and its causes say. */
  readonly told: string;
}

export async function scenario(
  { ports, timeouts }: { ports: readonly number[]; timeouts: SmtpTimeouts },
): Promise<(Fault | { readonly sent: unknown })[]> {
  const connector = await connectorOf("");
  const answers: (Fault | { readonly sent: unknown })[] = [];
  const rest = ports.entries();
  const work = async () => {
    for (const [i, port] of rest) answers[i] = await attempt(port);
  };
  await Promise.all(Array.from({ length: 16 }, work));
  return answers;

  async function attempt(port: number): Promise<typeof answers[number]> {
    await using mailer = smtpMailer({
      host: "127.0.0.1",
      port,
      security: "none",
      auth: { username: "account", password: "secret" },
      allowPlaintextAuth: true,
      connector,
      timeouts,
    });
    const message = {
      from: "jane@example.com",
      to: ["john@example.com", "joe@example.com"],
      subject: "Hello",
      text: "x".repeat(70).concat("\n").repeat(1000), // more than one piece
    };
    try {
      return { sent: (await mailer.send(message)).id };
    } catch (error) {
      const { code, phase, delivery, retryable, status } = error as Fault;
      let told = "";
      for (let cause = error as Error | undefined; cause; cause = cause.cause as Error | undefined) {
        told += `${cause.message} / `;
      }
      return { code, phase, delivery, retryable, status, told };
    }
  }
}
