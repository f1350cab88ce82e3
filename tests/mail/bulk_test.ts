/** The flow of a bulk: promptly, in order, holding few messages, and stopped when the caller stops reading. */
import {
  type BulkResult,
  type BulkSender,
  type Mailer,
  memoryMailer,
  type Message,
  observed,
  retrying,
  sendBulk,
} from "@holdfast/edge/mail";
import { sendgridMailer } from "@holdfast/edge/sendgrid";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { assert, assertEquals } from "../support/assert.ts";

const message: Message = {
  from: "shop@example.com",
  to: "jane@example.com",
  subject: "Hello",
  text: "Hello",
};

/** A mailer whose provider takes batches. */
function batching(size: number, send: BulkSender["send"]): Mailer {
  const alone = () => Promise.reject(new Error("not asked"));
  return { name: "test", deduplicates: false, send: alone, openBulk: () => ({ size, send }) };
}

function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => open = resolve);
  return { opened, open };
}

Deno.test("a result comes while the input still waits for its next message", async () => {
  const { opened, open } = gate();
  const input = async function* () {
    yield message;
    await opened;
    yield message;
  };
  const results = sendBulk(memoryMailer(), input());
  assertEquals((await results.next()).value.index, 0);
  open();
  assertEquals((await results.next()).value.index, 1);
  assertEquals((await results.next()).done, true);
});

Deno.test("after a caller stops reading, no message that was not read yet is sent", async () => {
  const mailer = memoryMailer();
  const { opened, open } = gate();
  let closed = false;
  const input = async function* () {
    try {
      yield message;
      await opened;
      yield message;
    } finally {
      closed = true;
    }
  };
  for await (const _ of sendBulk(mailer, input())) break;
  open();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assertEquals([mailer.outbox.length, closed], [1, true]);
});

Deno.test("a caller that stops reading waits for the messages under way", async () => {
  const mailer = memoryMailer();
  for await (const _ of sendBulk(mailer, Array(20).fill(message), { concurrency: 4 })) break;
  const sent = mailer.outbox.length;
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert(sent <= 5, `${sent} sent`);
  assertEquals(mailer.outbox.length, sent);
});

Deno.test("a silent input does not keep an abort waiting", async () => {
  const controller = new AbortController();
  const silent: AsyncIterable<Message> = {
    [Symbol.asyncIterator]: () => ({ next: () => new Promise<IteratorResult<Message>>(() => {}) }),
  };
  const results = sendBulk(memoryMailer(), silent, { signal: controller.signal });
  const next = results.next().catch((error) => error);
  controller.abort(new Error("enough"));
  assertEquals((await next).message, "enough");
});

Deno.test("results that arrive out of order are yielded in order, and at most the window is held", async () => {
  let under = 0;
  let most = 0;
  let pulled = 0;
  const input = function* () {
    for (; pulled < 300; pulled++) yield { ...message, subject: `number ${pulled}` };
  };
  const mailer = batching(10, (messages) => {
    most = Math.max(most, ++under);
    const first = Number(messages[0]!.subject.slice(7));
    const sent = new Promise((resolve) => setTimeout(resolve, (first * 7) % 11)).then(() => under--);
    return messages.map(({ subject }) => sent.then(() => ({ mailer: "test", id: subject })));
  });
  const results = sendBulk(mailer, input(), { concurrency: 3 });
  const seen: BulkResult[] = [];
  for await (const result of results) {
    seen.push(result);
    assert(pulled - seen.length <= 40, `${pulled} read, ${seen.length} seen`);
  }
  assertEquals(
    seen.map((result) => result.state === "sent" && result.receipt.id),
    seen.map((_, i) => `number ${i}`),
  );
  assertEquals([seen.length, most], [300, 3]);
});

Deno.test("a message that changes after it was read is sent as it was", async () => {
  const mailer = memoryMailer();
  const one = { ...message, subject: "" };
  const input = function* () {
    for (let i = 0; i < 10; i++) {
      one.subject = `number ${i}`;
      yield one;
    }
  };
  for await (const { state } of sendBulk(mailer, input())) assertEquals(state, "sent");
  assertEquals(
    mailer.outbox.map(({ message }) => message.subject).sort(),
    Array.from({ length: 10 }, (_, i) => `number ${i}`),
  );
});

Deno.test("keys are asked for once per message, in order, before it is sent", async () => {
  const asked: number[] = [];
  const idempotencyKey = (_: Message, index: number) => {
    asked.push(index);
    return index === 2 ? "not a key" : `key-${index % 2}`;
  };
  const mailer = memoryMailer();
  const states: string[] = [];
  for await (const result of sendBulk(mailer, Array(5).fill(message), { idempotencyKey })) {
    states.push(result.state);
  }
  assertEquals(asked, [0, 1, 2, 3, 4]);
  assertEquals(states, ["sent", "sent", "failed", "sent", "sent"]);
  assertEquals(mailer.outbox.length, 2);
});

Deno.test("a sender that throws or omits results fails just its own messages, as unknown", async () => {
  const results: BulkResult[] = [];
  let batches = 0;
  const mailer = batching(2, () => {
    if (batches++ === 0) throw new Error("a bug");
    return (batches === 2 ? ["a", "b"] : ["c"]).map((id) => Promise.resolve({ mailer: "test", id }));
  });
  for await (const result of sendBulk(mailer, Array(6).fill(message))) results.push(result);
  assertEquals(
    results.map((result) => result.state === "sent" ? result.receipt.id : result.error.delivery),
    ["unknown", "unknown", "a", "b", "c", "unknown"],
  );
});

Deno.test("a bulk's sender is closed after its last batch, also when the caller stops reading", async () => {
  const events: string[] = [];
  const mailer: Mailer = {
    ...batching(1, () => []),
    openBulk: () => ({
      size: 2,
      send: (messages) => {
        events.push(`sent ${messages.length}`);
        return messages.map(async () => {
          await new Promise((resolve) => setTimeout(resolve, 1));
          events.push("taken");
          return { mailer: "test", id: undefined };
        });
      },
      close: () => Promise.resolve(void events.push("closed")),
    }),
  };
  const bulk = sendBulk(mailer, Array(3).fill(message), { concurrency: 2 });
  assertEquals(events, []);
  for await (const { state } of bulk) assertEquals(state, "sent");
  assertEquals(events, ["sent 2", "taken", "taken", "sent 1", "taken", "closed"]);
  for await (const _ of sendBulk(mailer, Array(3).fill(message))) break;
  assertEquals([events.length, events.at(-1)], [10, "closed"]);
});

Deno.test("observed() and retrying() keep batches", async () => {
  const sizes: number[] = [];
  const told: string[] = [];
  const mailer: Mailer = {
    ...batching(3, (messages) => {
      sizes.push(messages.length);
      return messages.map(({ subject }) =>
        subject === "2" ? Promise.reject(new Error("no")) : Promise.resolve({ mailer: "test", id: subject })
      );
    }),
    send: ({ subject }) => Promise.resolve({ mailer: "test", id: subject }),
  };
  const watched = observed(mailer, {
    onOperation: ({ operation, outcome }) => told.push(`${operation} ${outcome}`),
  });
  const numbered = Array.from({ length: 5 }, (_, i) => ({ ...message, subject: `${i}` }));
  const states: string[] = [];
  for await (const { state } of sendBulk(watched, numbered)) states.push(state);
  assertEquals(states, ["sent", "sent", "failed", "sent", "sent"]);
  assertEquals(sizes, [3, 2]);
  assertEquals(told.sort(), ["sendBulk backend-unavailable", ...Array(4).fill("sendBulk sent")]);
  const again: string[] = [];
  for await (const { state } of sendBulk(retrying(mailer), numbered)) again.push(state);
  assertEquals(again, ["sent", "sent", "failed", "sent", "sent"], "an unknown delivery is not repeated");
  assertEquals(sizes, [3, 2, 3, 2]);
});

Deno.test("20,000 messages of 20 KB from an async iterable leave nothing behind, though signal and timeout outlive them", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const answer = () => Promise.resolve(new Response(null, { status: 202, headers: { "x-message-id": "1" } }));
  const mailer = sendgridMailer({ apiKey: "key", fetch: answer });
  const input = async function* () {
    for (let i = 0; i < 20_000; i++) {
      yield { ...message, text: `${await Promise.resolve(i)}`.padEnd(20_000, "x") };
    }
  };
  const { signal } = new AbortController();
  const heap: number[] = [];
  let count = 0;
  for await (const { state } of sendBulk(mailer, input(), { signal, timeout: "1h" })) {
    assertEquals(state, "sent");
    if (++count % 5000 !== 0) continue;
    collect();
    heap.push(Deno.memoryUsage().heapUsed);
  }
  const grown = heap.at(-1)! - heap[0]!;
  assert(grown < 3_000_000, `${grown} bytes more after 15,000 messages`);
});

Deno.test("sendBulk: the error of a message that is not valid names its field, and no value", async () => {
  const bad = { from: "shop@example.com", to: "no address", subject: "Hello", text: "Hello" };
  for await (const result of sendBulk(memoryMailer(), [bad])) {
    assert(result.state === "failed");
    assertEquals(
      result.error.message,
      "Cannot send by memory as it is not valid: 'to[0]' must be one address: local@domain or Name <local@domain>",
    );
  }
});
