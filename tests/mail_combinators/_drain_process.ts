/**
 * A drainer in a process of its own, to be killed: `deno run _drain_process.ts <database> <provider> <url>`.
 */
import { outbox } from "@holdfast/edge/mail";
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { resendMailer } from "@holdfast/edge/resend";
import { sendgridMailer } from "@holdfast/edge/sendgrid";
import { RESEND_KEY } from "../support/mail/resend_server.ts";
import { SENDGRID_KEY } from "../support/mail/sendgrid_server.ts";

const [path, provider, baseUrl] = Deno.args;
const client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
const single: typeof fetch = (input, init) => fetch(input, { ...init, client });
const mailer = provider === "resend"
  ? resendMailer({ apiKey: RESEND_KEY, baseUrl: baseUrl!, fetch: single })
  : sendgridMailer({ apiKey: SENDGRID_KEY, baseUrl: baseUrl!, fetch: single });
const kv = await Deno.openKv(path);
const box = outbox(mailer, denoKvStore(kv), { lease: 1000, delay: 1, buckets: 2, attempts: 1000 });
await Deno.stdout.write(new TextEncoder().encode("ready\n"));
await box.drain({ concurrency: 2 });
kv.close();
