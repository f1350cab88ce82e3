/**
 * The law of mailers on every mailer; those over HTTP against servers that check what the real ones check.
 */
import { memoryMailer } from "@holdfast/edge/mail";
import {
  type DeliveredMail,
  type FailingMailerSubject,
  mailerFaultLaw,
  mailerLaw,
} from "@holdfast/edge/testing";
import { delivered, senders, wireFault } from "../support/mail/providers.ts";
import { parseMime } from "../support/mail/parse.ts";

for (const law of mailerLaw) {
  Deno.test(`memory mailer: ${law.name}`, async () => {
    const mailer = memoryMailer();
    const accepted = (): Promise<DeliveredMail[]> =>
      Promise.all(mailer.outbox.map(async ({ mime: { bytes, envelope } }) => ({
        ...delivered({
          ...await parseMime(bytes),
          id: "",
          bcc: [],
          tags: [],
          metadata: {},
          sendAt: undefined,
        }),
        recipients: envelope.to,
      })));
    await law.run({ mailer, accepted });
  });
}

for (const [name, { start, mailer }] of Object.entries(senders)) {
  for (const law of [...mailerLaw, ...mailerFaultLaw]) {
    Deno.test({
      name: `${name}: ${law.name}`,
      sanitizeOps: !name.startsWith("ses"), // an abort does not wait for a signature that is being made
      async fn() {
        await using server = await start();
        const subject: FailingMailerSubject = {
          mailer: mailer(server.url),
          accepted: () => server.accepted.map(delivered),
          fail: (fault) => server.fault = fault && (() => wireFault(fault)),
        };
        await law.run(subject);
      },
    });
  }
}
