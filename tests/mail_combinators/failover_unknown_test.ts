/** failover() with `whenUnknown: "next"`: a message that may have been sent goes on, and what that may cost. */
import { failover, type Mailer, MailError, memoryMailer } from "@holdfast/edge/mail";
import { assertEquals, assertRejects, assertThrows } from "../support/assert.ts";

const message = { from: "shop@example.com", to: "jane@example.com", subject: "Hello", text: "Hello" };

/** A mailer that fails like this, and counts. */
function failing(name: string, ...[code, options]: [MailError["code"], Partial<MailError>]) {
  let calls = 0;
  const mailer: Mailer = {
    name,
    deduplicates: false,
    send() {
      calls++;
      return Promise.reject(
        new MailError(code, "no", { delivery: "not-sent", phase: "reply", mailer: name, ...options }),
      );
    },
  };
  return { mailer, calls: () => calls };
}

const lost = () => failing("first", "timeout", { delivery: "unknown" });

Deno.test("by default an unknown outcome stops; with 'next' another mailer sends, perhaps once more", async () => {
  for (const whenUnknown of ["stop", "next"] as const) {
    const first = lost();
    const memory = memoryMailer();
    const mailer = failover([first.mailer, memory], { whenUnknown });
    if (whenUnknown === "stop") {
      const error = await assertRejects(() => mailer.send(message), MailError);
      assertEquals([error.delivery, memory.outbox.length], ["unknown", 0]);
    } else {
      assertEquals((await mailer.send(message)).mailer, "memory");
      assertEquals([first.calls(), memory.outbox.length], [1, 1]);
    }
  }
});

Deno.test("a delivery that was unknown once stays unknown after the other mailers, and is not retryable", async () => {
  const others: [MailError["code"], Partial<MailError>][] = [
    ["backend-unavailable", { retryable: true }],
    ["unauthorized", {}],
    ["message-rejected", {}],
    ["timeout", { delivery: "unknown" }],
    ["unsupported", {}],
  ];
  for (const [code, options] of others) {
    const second = failing("second", code, options);
    const mailer = failover([lost().mailer, second.mailer], { whenUnknown: "next" });
    const error = await assertRejects(() => mailer.send(message), MailError);
    assertEquals([error.delivery, error.retryable, second.calls()], ["unknown", false, 1], code);
  }
});

Deno.test("the caller's abort ends it: no other mailer is asked", async () => {
  const stop = new AbortController();
  const first: Mailer = {
    name: "first",
    deduplicates: false,
    send() {
      stop.abort();
      const options = { delivery: "unknown", phase: "body", mailer: "first" } as const;
      return Promise.reject(new MailError("aborted", "no", options));
    },
  };
  const memory = memoryMailer();
  const mailer = failover([first, memory], { whenUnknown: "next" });
  const error = await assertRejects(() => mailer.send(message, { signal: stop.signal }), MailError);
  assertEquals([error.delivery, memory.outbox.length], ["unknown", 0]);
  assertThrows(() => failover([memory], { whenUnknown: "again" as never }), TypeError);
});
