/** A mailer on a scripted server, for tests of one thing. */
import {
  denoConnector,
  type SmtpMailer,
  smtpMailer,
  type SmtpMailerOptions,
} from "../../adapters/smtp/mod.ts";
import { MailError } from "../../src/mail/mail_error.ts";
import { assertRejects } from "../support/assert.ts";
import { type Peer, type ScriptedServer, startScripted } from "../support/smtp/scripted_server.ts";

export const message = {
  from: "jane@example.com",
  to: "john@example.com",
  subject: "Hello",
  text: "Hello\n",
};

export interface Setup extends AsyncDisposable {
  readonly mailer: SmtpMailer;
  readonly server: ScriptedServer;
  /** The dialogue on each connection. */
  said(): string[][];
}

export function setup(
  script: (peer: Peer) => Promise<void>,
  options: Partial<SmtpMailerOptions> = {},
): Setup {
  const server = startScripted(script);
  const mailer = smtpMailer({
    connector: denoConnector(),
    host: "127.0.0.1",
    port: server.port,
    security: "none",
    allowPlaintextAuth: true,
    ...options,
  });
  return {
    mailer,
    server,
    said: () => server.connections.map(({ heard }) => heard.map((line) => line.split(" ")[0]!)),
    async [Symbol.asyncDispose]() {
      await mailer.close();
      await server[Symbol.asyncDispose]();
    },
  };
}

/** The error of something that must fail. */
export function failure(sending: Promise<unknown>): Promise<MailError> {
  return assertRejects(() => sending, MailError);
}
