/** Ten thousand messages at a provider's rate, in virtual time: all delivered, stopped and begun again. */
import { type Clock, createThrottle, memoryStore } from "@holdfast/edge";
import {
  type BulkProgress,
  type MailError,
  type Message,
  outbox,
  rateLimited,
  retrying,
  sendBulk,
} from "@holdfast/edge/mail";
import { resendMailer } from "@holdfast/edge/resend";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";
import { memoryMailer } from "../../src/mail/memory_mailer.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { report } from "../support/report.ts";

/** A clock that goes on by itself to the next sleeper, whenever nothing is under way. */
class VirtualClock implements Clock {
  readonly #clock = new ManualClock();
  readonly #deadlines: number[] = [];
  busy = 0;
  #running = true;

  readonly #ended: Promise<void>;

  constructor() {
    this.#ended = this.#run();
  }

  now(): number {
    return this.#clock.now();
  }

  monotonic(): number {
    return this.#clock.monotonic();
  }

  sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
    this.#deadlines.push(this.#clock.now() + Math.ceil(milliseconds));
    return this.#clock.sleep(milliseconds, signal);
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#ended;
  }

  async #run(): Promise<void> {
    for (let idle = 0; this.#running;) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      idle = this.busy === 0 ? idle + 1 : 0;
      if (idle < 4) continue; // what was woken may be about to send
      idle = 0;
      const now = this.#clock.now();
      const next = this.#deadlines.filter((at) => at > now).sort((a, b) => a - b)[0];
      if (next === undefined) continue;
      this.#deadlines.splice(0, Infinity, ...this.#deadlines.filter((at) => at > next));
      await this.#clock.advance(next - now);
    }
  }
}

/** Resend with a limit of ten requests a second and team, as a fetch that needs no network. */
function limitedResend(clock: VirtualClock) {
  const delivered = new Map<string, number>();
  const times: number[] = [];
  let refused = 0;
  const fetch = async (_url: string | URL | Request, init: RequestInit = {}) => {
    clock.busy++;
    try {
      await new Promise((resolve) => setTimeout(resolve, 0));
      const now = clock.now();
      if (times.filter((at) => at > now - 1000).length >= 10) {
        refused++;
        const headers = { "retry-after": "1", "ratelimit-reset": "1" };
        const body = { statusCode: 429, name: "rate_limit_exceeded", message: "Too many requests" };
        return Response.json(body, { status: 429, headers });
      }
      times.push(now);
      const text = await new Response(init.body).text();
      const messages = [JSON.parse(text)].flat() as { to: string[] }[];
      for (const { to: [to] } of messages) delivered.set(to!, (delivered.get(to!) ?? 0) + 1);
      const ids = messages.map(() => ({ id: crypto.randomUUID() }));
      return Response.json(text.startsWith("[") ? { data: ids } : ids[0]);
    } finally {
      clock.busy--;
    }
  };
  return {
    fetch,
    delivered,
    get requests() {
      return times.length;
    },
    get refused() {
      return refused;
    },
  };
}

const COUNT = 10_000;

function* messages(read?: () => void): Generator<Message> {
  for (let i = 0; i < COUNT; i++) {
    read?.();
    yield { from: "shop@example.com", to: `r${i}@example.com`, subject: `Number ${i}`, text: "Hello" };
  }
}

function setup() {
  const clock = new VirtualClock();
  const resend = limitedResend(clock);
  const store = memoryStore({ clock });
  const throttle = createThrottle(store, {
    name: "resend",
    limit: 10,
    window: "1s",
    algorithm: "sliding-window",
    clock,
  });
  const provider = resendMailer({ apiKey: "re_1", fetch: resend.fetch });
  const mailer = retrying(rateLimited(provider, throttle, { per: "request", clock, wait: "1m" }), {
    clock,
    timeout: "10m",
  });
  return { clock, resend, store, mailer };
}

const once = (delivered: ReadonlyMap<string, number>) =>
  [...delivered.values()].every((times) => times === 1);

Deno.test("10,000 messages against ten requests a second: all delivered once, no storm of 429, few held at a time", async () => {
  const { clock, resend, mailer } = setup();
  const started = clock.now();
  const progress: BulkProgress[] = [];
  let read = 0;
  let lead = 0;
  let results = 0;
  let seconds = 0;
  try {
    const bulk = sendBulk(mailer, messages(() => read++), { onProgress: (one) => progress.push(one) });
    for await (const { state, index } of bulk) {
      assertEquals([state, index], ["sent", results++]);
      lead = Math.max(lead, read - results);
      seconds = (clock.now() - started) / 1000;
    }
  } finally {
    await clock.stop();
  }
  report(
    `bulk: ${resend.requests} requests and ${resend.refused} refusals in ${seconds} s, at most ${lead} ahead`,
  );
  assertEquals([resend.delivered.size, once(resend.delivered), resend.requests], [COUNT, true, 100]);
  assert(resend.refused <= 10, `${resend.refused} requests were refused`);
  assert(lead <= 700, `${lead} messages were held`);
  assertEquals(progress.at(-1), { sent: COUNT, failed: 0, next: COUNT });
  assert(progress.length >= 100 && progress.every(({ next }, i) => i === 0 || next > progress[i - 1]!.next));
});

Deno.test("a bulk that is stopped in the middle goes on where it was: none twice, none left out", async () => {
  const { clock, resend, mailer } = setup();
  let next = 0;
  const rounds: number[] = [];
  try {
    // Stopped by leaving the loop, then by a signal, then not at all.
    for await (
      const { index } of sendBulk(mailer, messages(), { onProgress: (progress) => next = progress.next })
    ) {
      if (index === 2_345) break;
    }
    rounds.push(next);
    const stop = new AbortController();
    const second = sendBulk(mailer, messages(), {
      start: next,
      signal: stop.signal,
      onProgress: (progress) => next = progress.next,
    });
    const failed: MailError[] = [];
    const unsent: number[] = [];
    const reason = await assertRejects(async () => {
      for await (const result of second) {
        if (result.index === 6_789) stop.abort(new Error("enough"));
        if (result.state === "sent") continue;
        // Each message read before the signal has its result: not sent, or on its way to the provider.
        failed.push(result.error);
        if (result.error.delivery === "not-sent") unsent.push(result.index);
      }
    });
    assertEquals(reason.message, "enough");
    assert(failed.every(({ code }) => code === "aborted"));
    rounds.push(next);
    const all = [...messages()];
    for await (const { state } of sendBulk(mailer, unsent.map((i) => all[i]!))) assertEquals(state, "sent");
    for await (const { state } of sendBulk(mailer, all, { start: next })) assertEquals(state, "sent");
  } finally {
    await clock.stop();
  }
  assertEquals([resend.delivered.size, once(resend.delivered)], [COUNT, true]);
  assert(rounds[0]! > 2_345 && rounds[0]! < 4_000 && rounds[1]! < 9_000, `${rounds} were begun`);
});

Deno.test("a bulk into an outbox is repeated under the same keys after a stop, and drained at the provider's rate", async () => {
  const { clock, resend, store, mailer } = setup();
  const box = outbox(mailer, store, { clock, buckets: 4, lease: "10m" });
  const some = () => [...messages()].slice(0, 300);
  const options = { idempotencyKey: (_: Message, index: number) => `news-7-${index}` };
  try {
    for await (const { index } of sendBulk(box, some(), options)) if (index === 120) break;
    for await (const { state } of sendBulk(box, some(), options)) assertEquals(state, "sent");
    const stop = new AbortController();
    const first = await box.drain({
      signal: stop.signal,
      limit: 100,
    });
    stop.abort();
    let sent = first.sent;
    for (let next: number | undefined = 0; next !== undefined;) {
      await clock.sleep(next + 1);
      const report = await box.drain();
      sent += report.sent;
      next = report.nextAfter;
    }
    assertEquals(sent, 300);
  } finally {
    await clock.stop();
  }
  assertEquals([resend.delivered.size, once(resend.delivered)], [300, true]);
  assert(resend.refused <= 30, `${resend.refused} requests were refused`);
});

Deno.test("start leaves out the beginning, and indexes and keys count from there", async () => {
  const mailer = memoryMailer();
  const seen: unknown[] = [];
  const few = [...messages()].slice(0, 5);
  const options = {
    start: 3,
    idempotencyKey: (_: Message, index: number) => (seen.push(index), `k${index}`),
  };
  for await (const { index } of sendBulk(mailer, few, options)) seen.push(`result ${index}`);
  assertEquals(seen.filter((one) => typeof one === "number"), [3, 4]);
  assertEquals(mailer.outbox.map(({ message }) => message.subject), ["Number 3", "Number 4"]);
  assertThrows(() => sendBulk(mailer, few, { start: -1 }), RangeError);
  assertThrows(() => sendBulk(mailer, few, { onProgress: 5 as never }), TypeError);
});
