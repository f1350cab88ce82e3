/** Sends the confirmations that are due: call it from a cron. */
// deno-lint-ignore-file no-console
import { memoryMailer, outbox } from "@holdfast/edge/mail";
import { close, migrate, store } from "./database.js";

await migrate();
const mailer = memoryMailer(); // resendMailer({ apiKey }), smtpMailer({ … })
const { sent } = await outbox(mailer, store).drain();
console.log(`sent ${sent}`);
await close();
