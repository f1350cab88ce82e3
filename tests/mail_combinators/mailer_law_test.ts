/** A mailer around a mailer is a mailer: the same law. */
import { createIdempotency, createThrottle, memoryStore } from "@holdfast/edge";
import {
  failover,
  idempotent,
  type Mailer,
  memoryMailer,
  observed,
  outbox,
  rateLimited,
  retrying,
} from "@holdfast/edge/mail";
import { type DeliveredMail, mailerFaultLaw, mailerLaw } from "@holdfast/edge/testing";
import { ManualClock } from "../support/manual_clock.ts";
import { parseMime } from "../support/mail/parse.ts";
import { delivered, providers, wireFault } from "../support/mail/providers.ts";

const throttle = () => createThrottle(memoryStore(), { name: "mail", limit: 100_000, window: "1s" });
const keys = () => createIdempotency(memoryStore(), { name: "mail" });

/** The deadline keeps a Retry-After from being waited for. */
const wrappers: Record<string, (mailer: Mailer) => Mailer> = {
  retrying: (mailer) => retrying(mailer, { delay: 1, timeout: "20s" }),
  failover: (mailer) => failover([mailer]),
  rateLimited: (mailer) => rateLimited(mailer, throttle()),
  idempotent: (mailer) => idempotent(mailer, keys()),
  observed: (mailer) => observed(mailer, { onOperation: () => {} }),
  "all of them": (mailer) =>
    idempotent(
      failover([retrying(observed(rateLimited(mailer, throttle()), { onOperation: () => {} }), {
        delay: 1,
        timeout: "20s",
      })]),
      keys(),
    ),
};

function accepted(mailer: ReturnType<typeof memoryMailer>): Promise<DeliveredMail[]> {
  return Promise.all(mailer.outbox.map(async ({ mime: { bytes, envelope } }) => ({
    ...delivered({ ...await parseMime(bytes), id: "", bcc: [], tags: [], metadata: {}, sendAt: undefined }),
    recipients: envelope.to,
  })));
}

for (const [name, wrap] of Object.entries(wrappers)) {
  for (const law of mailerLaw) {
    Deno.test(`${name}: ${law.name}`, async () => {
      const inner = memoryMailer();
      await law.run({ mailer: wrap(inner), accepted: () => accepted(inner) });
    });
  }
  for (const provider of ["resend", "mailgun"] as const) {
    const { start, mailer } = providers[provider]!;
    for (const law of mailerFaultLaw) {
      // Around one that does not deduplicate, a lost answer means more: see lost_reply_test.ts.
      const more = (name === "idempotent" || name === "all of them") && law.name.startsWith("a lost answer");
      if (more && (provider === "mailgun" || name === "all of them")) continue;
      Deno.test(`${name} around ${provider}: ${law.name}`, async () => {
        await using server = await start();
        await law.run({
          mailer: wrap(mailer(server.url)),
          accepted: () => server.accepted.map(delivered),
          fail: (fault) => server.fault = fault && (() => wireFault(fault)),
        });
      });
    }
  }
}

for (const law of mailerLaw) {
  Deno.test(`failover from one that is down: ${law.name}`, async () => {
    const inner = memoryMailer();
    await using server = await providers.mailgun!.start();
    server.fault = () => ({ status: 503, body: "" });
    const down = { ...providers.mailgun!.mailer(server.url), name: "memory" };
    // Two providers do not know each other's keys; the laws count.
    const forgetful: Mailer = {
      name: "memory",
      deduplicates: false,
      send: (message, { idempotencyKey: _, ...options } = {}) => inner.send(message, options),
    };
    await law.run({ mailer: failover([down, forgetful]), accepted: () => accepted(inner) });
  });
}

/** Time goes on with every look, so that what was queued first is due first. */
class TickingClock extends ManualClock {
  #ticks = 0;

  override now(): number {
    return super.now() + ++this.#ticks;
  }

  override monotonic(): number {
    return super.monotonic() + ++this.#ticks;
  }
}

for (const law of mailerLaw) {
  Deno.test(`outbox: ${law.name}`, async () => {
    const clock = new TickingClock();
    const inner = memoryMailer();
    const mailer = outbox(inner, memoryStore({ clock }), { clock, buckets: 1 });
    await law.run({
      mailer,
      async accepted() {
        for (;;) {
          const { nextAfter } = await mailer.drain({ concurrency: 1 });
          if (nextAfter === undefined) return await accepted(inner);
          await clock.advance(nextAfter);
        }
      },
    });
  });
}
