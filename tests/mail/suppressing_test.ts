/** The list of addresses that get no more mail: results, batches, refusals, reports and expiry. */
import { HoldfastError, memoryStore } from "@holdfast/edge";
import {
  type BulkResult,
  type Mailer,
  MailError,
  memoryMailer,
  outbox,
  retrying,
  sendBulk,
  suppressing,
} from "@holdfast/edge/mail";
import { resendMailer } from "@holdfast/edge/resend";
import { denoConnector, smtpMailer } from "@holdfast/edge/smtp";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { RESEND_KEY, startResend } from "../support/mail/resend_server.ts";
import { type Deviation, polite, startScripted } from "../support/smtp/scripted_server.ts";

const message = { from: "shop@example.com", to: "jane@example.com", subject: "Hello", text: "Hello" };
const bounce = (address: string) => ({ address, kind: "bounce", reason: "550 5.1.1 no such user" } as const);

Deno.test("a suppressed recipient is a result: nothing is sent, in any case of letters", async () => {
  const memory = memoryMailer();
  const mailer = suppressing(memory, memoryStore());
  await mailer.suppress(bounce("Jane@Example.com"));
  const receipt = await mailer.send({ ...message, to: "JANE@example.com" });
  assertEquals(
    [receipt.id, receipt.accepted, receipt.suppressed?.map(({ kind, reason }) => [kind, reason])],
    [
      undefined,
      [],
      [["bounce", "550 5.1.1 no such user"]],
    ],
  );
  assertEquals(memory.outbox.length, 0);
  assertEquals((await mailer.find("jane@example.com"))?.kind, "bounce");
  assertEquals([await mailer.allow("jane@example.com"), await mailer.allow("jane@example.com")], [
    true,
    false,
  ]);
  assertEquals((await mailer.send(message)).suppressed, undefined);
});

Deno.test("the other recipients get the message, whether the mailer selects recipients or not", async () => {
  for (const selects of [true, false]) {
    const memory = memoryMailer();
    const inner: Mailer = selects
      ? memory
      : { name: "plain", deduplicates: false, send: (one, options) => memory.send(one, options) };
    const mailer = suppressing(inner, memoryStore());
    await mailer.suppress([bounce("jane@example.com"), bounce("log@example.com")]);
    const receipt = await mailer.send({
      ...message,
      cc: "cc@example.com",
      bcc: ["log@example.com", "b@example.com"],
    });
    assertEquals(receipt.suppressed?.map(({ address }) => address), ["jane@example.com", "log@example.com"]);
    const [mail] = memory.outbox;
    assertEquals([...mail!.mime.envelope.to].sort(), ["b@example.com", "cc@example.com"]);
    // Without a way to select recipients, a copy takes the place of the last 'to'.
    if (!selects) assertEquals(mail!.message.to, [{ address: "cc@example.com" }]);
  }
});

Deno.test("each kind counts on its own: mail that must arrive may ignore unsubscriptions, never bounces", async () => {
  const store = memoryStore();
  const news = suppressing(memoryMailer(), store);
  const receipts = suppressing(memoryMailer(), store, { kinds: ["bounce", "complaint"] });
  await news.suppress({ address: "a@example.com", kind: "unsubscribe", reason: "" });
  await news.suppress([bounce("b@example.com"), {
    address: "b@example.com",
    kind: "unsubscribe",
    reason: "",
  }]);
  await news.suppress({ address: "c@example.com", kind: "soft-bounce", reason: "mailbox full" });
  const kinds = async (mailer: typeof news, to: string) =>
    (await mailer.send({ ...message, to })).suppressed?.[0]?.kind;
  assertEquals([await kinds(news, "a@example.com"), await kinds(receipts, "a@example.com")], [
    "unsubscribe",
    undefined,
  ]);
  assertEquals([await kinds(news, "b@example.com"), await kinds(receipts, "b@example.com")], [
    "bounce",
    "bounce",
  ]);
  assertEquals(await kinds(news, "c@example.com"), undefined);
  const all: string[] = [];
  for await (const { address, kind } of news.list()) all.push(`${address} ${kind}`);
  assertEquals(all.sort(), [
    "a@example.com unsubscribe",
    "b@example.com bounce",
    "b@example.com unsubscribe",
  ]);
});

Deno.test("an entry ends with the ttl of its kind", async () => {
  const clock = new ManualClock();
  const mailer = suppressing(memoryMailer(), memoryStore({ clock }), { ttl: { bounce: "30d" }, clock });
  await mailer.suppress([bounce("jane@example.com"), {
    address: "c@example.com",
    kind: "complaint",
    reason: "",
  }]);
  await clock.advance(30 * 86_400_000 - 1);
  assertEquals((await mailer.send(message)).suppressed?.length, 1);
  await clock.advance(1);
  assertEquals((await mailer.send(message)).suppressed, undefined);
  assertEquals((await mailer.send({ ...message, to: "c@example.com" })).suppressed?.length, 1);
});

Deno.test("a mail server's refusal for good puts a recipient on the list; other refusals do not", async () => {
  const RCPT: Deviation = async (peer, line) => {
    const reply = {
      gone: "550 5.1.1 no such user",
      full: "552 5.2.2 mailbox full",
      spam: "550 5.7.1 we do not like you",
      later: "450 4.2.0 later",
      bare: "550 no",
    }[/<(\w+)@/.exec(line)![1]!];
    if (reply === undefined) return true;
    await peer.say(reply);
  };
  await using server = startScripted(polite({ RCPT }));
  await using smtp = smtpMailer({
    connector: denoConnector(),
    host: "127.0.0.1",
    port: server.port,
    security: "none",
  });
  const mailer = suppressing(smtp, memoryStore());
  const names = ["gone", "full", "spam", "later", "bare", "jane"];
  const to = names.map((name) => `${name}@example.com`);
  await mailer.send({ ...message, to });
  const found = await Promise.all(to.map(async (address) => (await mailer.find(address))?.reason));
  assertEquals(found, ["550 5.1.1 no such user", undefined, undefined, undefined, undefined, undefined]);
  // Alone, its refusal is the error, and the next send a result.
  await using alone = startScripted(polite({ RCPT }));
  await using other = smtpMailer({
    connector: denoConnector(),
    host: "127.0.0.1",
    port: alone.port,
    security: "none",
  });
  const second = suppressing(retrying(other), memoryStore());
  const one = { ...message, to: "gone@example.com" };
  await assertRejects(() => second.send(one), MailError);
  assertEquals((await second.send(one)).suppressed?.[0]?.kind, "bounce");
});

Deno.test("the refusal of the only recipient that is left, or that was asked for, is noted too", async () => {
  const refuses = (selectsRecipients: boolean): Mailer => ({
    name: "plain",
    deduplicates: false,
    selectsRecipients,
    send: () =>
      Promise.reject(
        new MailError("message-rejected", "no such user", {
          delivery: "not-sent",
          phase: "rcpt",
          mailer: "plain",
          status: 550,
          enhanced: "5.1.1",
        }),
      ),
  });
  const two = { ...message, to: ["jane@example.com", "john@example.com"] };
  for (const selects of [true, false]) {
    const mailer = suppressing(refuses(selects), memoryStore());
    await mailer.suppress(bounce("jane@example.com"));
    await assertRejects(() => mailer.send(two), MailError);
    assertEquals((await mailer.find("john@example.com"))?.reason, "550 5.1.1", `selects: ${selects}`);
    const bulk = suppressing(refuses(selects), memoryStore());
    await bulk.suppress(bounce("jane@example.com"));
    for await (const { state } of sendBulk(bulk, [two])) assertEquals(state, "failed");
    assertEquals((await bulk.find("john@example.com"))?.reason, "550 5.1.1", `in a bulk: ${selects}`);
  }
  const mailer = suppressing(refuses(true), memoryStore());
  await assertRejects(() => mailer.send(two, { recipients: ["john@example.com"] }), MailError);
  assertEquals((await mailer.find("john@example.com"))?.reason, "550 5.1.1");
  assertEquals(await mailer.find("jane@example.com"), undefined);
  const fresh = suppressing(refuses(true), memoryStore());
  await assertRejects(() => fresh.send(two), MailError);
  for (const address of two.to) assertEquals(await fresh.find(address), undefined, "it may be either's");
});

Deno.test("sendBulk keeps batches: one question to the list and one request, without the suppressed", async () => {
  await using server = await startResend();
  const store = memoryStore();
  const mailer = suppressing(resendMailer({ apiKey: RESEND_KEY, baseUrl: server.url }), store);
  await mailer.suppress([3, 50].map((i) => bounce(`r${i}@example.com`)));
  const messages = Array.from({ length: 100 }, (_, i) => ({ ...message, to: `r${i}@example.com` }));
  const results: BulkResult[] = [];
  for await (const result of sendBulk(mailer, messages)) results.push(result);
  assertEquals([server.requests.length, server.accepted.length, results.length], [1, 98, 100]);
  const out = results.flatMap((one) => one.state === "sent" && one.receipt.suppressed ? [one.index] : []);
  assertEquals(out, [3, 50]);
  assert(
    results.every((one) =>
      one.state === "sent" && (one.receipt.id !== undefined) !== out.includes(one.index)
    ),
  );
});

Deno.test("within an outbox the list is read when the message is sent", async () => {
  const memory = memoryMailer();
  const inner = suppressing(memory, memoryStore());
  const box = outbox(inner, memoryStore());
  await box.send(message);
  await inner.suppress(bounce("jane@example.com"));
  const { sent } = await box.drain();
  assertEquals([sent, memory.outbox.length], [1, 0]);
});

Deno.test("a list that cannot be read sends nothing, or to everyone by choice, and its fault is reported", async () => {
  const broken = (code: "backend-unavailable" | "unauthorized") => {
    const store = memoryStore();
    const failing = {
      ...store,
      getMany: () => Promise.reject(new HoldfastError(code, "down", { retryable: true })),
    };
    return {
      ...store,
      getMany: failing.getMany,
      setMany: store.setMany,
      namespace: () => failing,
    } as typeof store;
  };
  const faults: unknown[] = [];
  const onFault = (error: unknown) => faults.push(error);
  const memory = memoryMailer();
  const closed = suppressing(memory, broken("backend-unavailable"), { onFault });
  const error = await assertRejects(() => closed.send(message), MailError);
  assertEquals([error.code, error.delivery, error.retryable], ["backend-unavailable", "not-sent", true]);
  await suppressing(memory, broken("backend-unavailable"), { onFault, whenUnavailable: "allow" }).send(
    message,
  );
  // A misconfiguration is never taken for a permission.
  const open = suppressing(memory, broken("unauthorized"), { onFault, whenUnavailable: "allow" });
  await assertRejects(() => open.send(message), MailError);
  assertEquals([memory.outbox.length, faults.length], [1, 3]);
});

Deno.test("misuse is refused before any I/O", async () => {
  const mailer = suppressing(memoryMailer(), memoryStore());
  await assertRejects(() => mailer.suppress({ address: "nobody", kind: "bounce", reason: "" }), TypeError);
  await assertRejects(
    () => mailer.suppress({ address: "a@example.com", kind: "hard" as never, reason: "" }),
    TypeError,
  );
  assertThrows(() => suppressing(memoryMailer(), {} as never), TypeError);
  assertThrows(
    () => suppressing(memoryMailer(), memoryStore(), { kinds: ["soft-bounce" as never] }),
    TypeError,
  );
  assertThrows(() => suppressing(memoryMailer(), memoryStore(), { ttl: { bounce: 0 } }), RangeError);
  assertThrows(() => suppressing(memoryMailer(), memoryStore(), { ttl: { soft: "1d" } as never }), TypeError);
});
