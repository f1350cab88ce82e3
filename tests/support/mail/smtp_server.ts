/**
 * A mail server as a provider like the others: the `smtp-server` package, whose reading of SMTP is not ours.
 */
import { Buffer } from "node:buffer";
import type { AddressInfo } from "node:net";
import { domainToASCII } from "node:url";
import { SMTPServer } from "smtp-server";
import { denoConnector, smtpEnvelope, smtpMailer } from "@holdfast/edge/smtp";
import type { Mailer } from "@holdfast/edge/mail";
import type { AcceptedMail, MailFault, MailServer } from "./http_server.ts";
import { checkMime, parseMime } from "./parse.ts";

/** A mailer on such a server. */
export function smtpTo(url: string): Mailer {
  const { hostname, port } = new URL(url);
  const connector = denoConnector();
  // These mailers are never closed: their idle connections must end before the test does.
  return smtpMailer({
    host: hostname,
    port: Number(port),
    security: "none",
    connector,
    idleTimeout: 100,
    envelope: smtpEnvelope,
  });
}

/** The replies of the HTTP providers as SMTP replies. */
const REPLIES: Readonly<Record<number, readonly [code: number, text: string]>> = {
  401: [530, "5.7.0 authenticate first, jane@example.com"],
  422: [550, "5.7.1 we do not like jane@example.com"],
  429: [451, "4.7.1 slow down, jane@example.com"],
};

/** Starts one. */
export async function startSmtp(): Promise<MailServer> {
  const accepted: AcceptedMail[] = [];
  const requests: MailServer["requests"] = [];
  let fault: MailFault | undefined;
  const smtp = new SMTPServer({
    disabledCommands: ["AUTH", "STARTTLS"],
    disableReverseLookup: true,
    logger: false,
    onMailFrom(_address, _session, done) {
      const request = { method: "MAIL", path: "", headers: new Headers(), body: new Uint8Array() };
      requests.push(request);
      fault = server.fault?.(request);
      if (!fault || !("status" in fault)) return done();
      const [responseCode, text] = REPLIES[fault.status]!;
      done(Object.assign(new Error(text), { responseCode }));
    },
    onData(stream, session, done) {
      const chunks: Buffer[] = [];
      stream.on("data", (chunk: Buffer) => chunks.push(chunk));
      stream.on("end", async () => {
        if (fault && "hang" in fault && fault.hang === "before") return;
        const { mailFrom, rcptTo } = session.envelope;
        const raw = new Uint8Array(Buffer.concat(chunks));
        try {
          checkMime(raw, { eightBit: Boolean(mailFrom && mailFrom.args && "SMTPUTF8" in mailFrom.args) });
        } catch (error) {
          return done(Object.assign(error as Error, { responseCode: 554 }));
        }
        const mail = await parseMime(raw);
        const visible = new Set([...mail.to, ...mail.cc].map(({ address }) => bare(address)));
        const id = `queue-${accepted.length + 1}`;
        const bcc = rcptTo.map(({ address }) => ({ name: "", address: bare(address) }))
          .filter(({ address }) => !visible.has(address));
        const envelope = rcptTo.map(({ address }) => bare(address));
        accepted.push({ ...mail, id, bcc, envelope, tags: [], metadata: {}, sendAt: undefined });
        if (fault && "cut" in fault) {
          for (
            const connection of smtp.connections as Set<{ id: string; close(): void; _socket: Destroyable }>
          ) {
            if (connection.id === session.id) connection._socket.destroy();
          }
        } else done(null, `OK: queued as ${id}`);
      });
    },
  });
  smtp.on("error", () => {});
  await new Promise<void>((resolve) => smtp.listen(0, "127.0.0.1", resolve));
  const server: MailServer = {
    url: `smtp://127.0.0.1:${(smtp.server.address() as AddressInfo).port}`,
    requests,
    accepted,
    fault: undefined,
    refuse: undefined,
    reset() {
      requests.length = 0;
      accepted.length = 0;
      server.fault = undefined;
    },
    [Symbol.asyncDispose]: () => new Promise((resolve) => smtp.close(() => resolve())),
  };
  return server;
}

interface Destroyable {
  destroy(): void;
}

/** The server shows domains in Unicode, and the parser takes the quotes off a local part. */
function bare(address: string): string {
  const at = address.lastIndexOf("@");
  return `${address.slice(0, at).replace(/^"(.*)"$/, "$1")}@${domainToASCII(address.slice(at + 1))}`;
}
