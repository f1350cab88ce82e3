/** The official SDK and the key over fetch send the same requests, in Deno and in workerd. */
import { resendMailer } from "@holdfast/edge/resend";
import { Resend } from "resend";
import { assert, assertEquals } from "../support/assert.ts";
import type { MailRequest, MailServer } from "../support/mail/http_server.ts";
import { RESEND_KEY, startResend } from "../support/mail/resend_server.ts";
import { startWorkerd, workerdTest } from "../support/workerd.ts";
import { sendAll } from "./resend_messages.ts";

/** All that matters on the wire; each client names itself, and random keys are there or not. */
function wire(requests: readonly MailRequest[]): unknown[] {
  return requests.map(({ method, path, headers, body }) => ({
    method,
    path,
    authorization: headers.get("authorization"),
    type: headers.get("content-type"),
    keyed: headers.has("idempotency-key"),
    validation: headers.get("x-batch-validation"),
    body: new TextDecoder().decode(body),
  }));
}

async function requestsOf(server: MailServer, send: () => Promise<unknown>): Promise<unknown[]> {
  server.reset();
  assertEquals(await send(), { sent: 16 });
  // A batch and what goes beside it arrive in any order.
  return wire(server.requests).sort((a, b) => JSON.stringify(a) < JSON.stringify(b) ? -1 : 1);
}

Deno.test("resend: the SDK and a key send the same requests, in Deno", async () => {
  await using byKey = await startResend();
  await using bySdk = await startResend();
  const key = resendMailer({ apiKey: RESEND_KEY, baseUrl: byKey.url });
  const sdk = resendMailer(new Resend(RESEND_KEY, { baseUrl: bySdk.url }));
  const expected = await requestsOf(byKey, () => sendAll(key));
  assertEquals(expected.length, 12);
  assertEquals(await requestsOf(bySdk, () => sendAll(sdk)), expected);
});

workerdTest(
  "resend: the SDK and a key send the same requests, in workerd; the law of mailers holds there",
  async () => {
    await using here = await startResend();
    await using byKey = await startResend();
    const entry = new URL("./resend_worker.ts", import.meta.url);
    const ask = async (worker: { url: string }, path: string) =>
      await (await fetch(worker.url + path)).json();
    const expected = await requestsOf(
      here,
      () => sendAll(resendMailer({ apiKey: RESEND_KEY, baseUrl: here.url })),
    );
    await using worker = await startWorkerd({ entry, vars: { KEY: RESEND_KEY } });
    assertEquals(
      await requestsOf(byKey, () => ask(worker, `/key?mail=${byKey.url}`)),
      expected,
    );
    await using bySdk = await startResend();
    assertEquals(await requestsOf(bySdk, () => ask(worker, `/sdk?mail=${bySdk.url}`)), expected);
    const { laws, broken } = await ask(worker, "/law");
    assertEquals(broken, []);
    assert(laws > 10);
  },
);
