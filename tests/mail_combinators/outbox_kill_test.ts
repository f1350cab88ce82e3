/**
 * An outbox under kills: senders and drainers die at random steps, before or after what they asked for was
 * done, and other drainers go on. Counted at the provider's own server: every message that was promised
 * arrives, and none arrives twice but where its answer was lost. KILLS=2000 for more.
 */
import { type AtomicStore, type Clock, memoryStore } from "@holdfast/edge";
import { type Mailer, type MailOutboxOptions, type Message, outbox } from "@holdfast/edge/mail";
import { bytesToBase64Url } from "../../src/codec.ts";
import { denoKvStore } from "@holdfast/edge/deno-kv";
import { resendMailer } from "@holdfast/edge/resend";
import { sendgridMailer } from "@holdfast/edge/sendgrid";
import { upstashStore } from "@holdfast/edge/upstash";
import { assert, assertEquals } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";
import type { MailServer } from "../support/mail/http_server.ts";
import { RESEND_KEY, startResend } from "../support/mail/resend_server.ts";
import { SENDGRID_KEY, startSendGrid } from "../support/mail/sendgrid_server.ts";
import { Random } from "../support/random.ts";
import { startRedis } from "../support/redis_server.ts";
import { report } from "../support/report.ts";
import { startUpstash } from "../support/upstash_server.ts";
import { Life } from "./_killable.ts";

const KILLS = Number(Deno.env.get("KILLS") ?? 200);
const MESSAGES = 5;

/** The counts of all messages of all rounds. */
interface Tally {
  kills: number;
  promised: number;
  delivered: number;
  /** Held as in doubt until somebody decided. */
  doubted: number;
  /** Of those, how many had arrived. */
  arrived: number;
  /** Answers that never reached who asked, by a kill or by the network. */
  lost: number;
  /** Arrivals beyond the first. */
  twice: number;
}

/** The store: a fresh namespace per round, and a way past a lease. */
interface Place {
  readonly clock: Clock | undefined;
  readonly lease: number;
  room(): AtomicStore;
  wait(ms: number): Promise<void>;
}

/** Rounds until enough drainers and senders were killed. */
async function run(
  place: Place,
  start: () => Promise<MailServer>,
  provider: (url: string) => Mailer,
  more: MailOutboxOptions,
  kills: number,
): Promise<Tally> {
  const seed = Number(Deno.env.get("SEED") ?? Math.floor(Math.random() * 2 ** 31));
  const random = new Random(seed);
  const tally: Tally = { kills: 0, promised: 0, delivered: 0, doubted: 0, arrived: 0, lost: 0, twice: 0 };
  await using server = await start();
  const mailer = provider(server.url);
  for (let round = 0; tally.kills < kills; round++) {
    const store = place.room();
    const options: MailOutboxOptions = {
      clock: place.clock,
      lease: place.lease,
      delay: 1,
      attempts: 100,
      buckets: 2,
      ...more,
    };
    server.reset();
    /** The messages that the server took, with their senders. */
    const taken: {
      readonly subject: string;
      readonly life: Life;
      readonly key: string;
      readonly heard: boolean;
    }[] = [];
    /** Requests on their way, which a life that ends does not call back. */
    const flights: Promise<unknown>[] = [];
    const ear = (life: Life): Mailer =>
      life.mailer({
        ...mailer,
        async send(message, sendOptions) {
          const arrivals = () => server.accepted.filter(({ subject }) => subject === message.subject).length;
          const before = arrivals();
          const key = await mailKey(sendOptions!.idempotencyKey!);
          const note = (heard: boolean) =>
            arrivals() > before && taken.push({ subject: message.subject!, life, key, heard });
          try {
            const flight = mailer.send(message, sendOptions);
            flights.push(flight.catch(() => {}));
            const receipt = await flight;
            note(true);
            return receipt;
          } catch (error) {
            note(false);
            throw error;
          }
        },
      });
    server.fault = () => {
      if (random.chance(0.05)) return { cut: "after" };
      if (random.chance(0.05)) return { cut: "before" };
      if (random.chance(0.1)) return { status: 429, headers: { "retry-after": "0.001" }, body: "" };
      return undefined;
    };
    const promised: string[] = [];
    const message = (subject: string): Message => ({
      from: "shop@example.com",
      to: "jane@example.com",
      subject,
      text: "Thank you.",
    });
    for (let i = 0; i < MESSAGES; i++) {
      const life = new Life(random.chance(0.2) ? 1 + random.below(2) : Infinity, random.chance(0.5));
      const sending = outbox(mailer, life.store(store), options)
        .send(message(`number ${i}`), { idempotencyKey: `key-${round}-${i}` });
      if (await Promise.race([sending.then(() => true), life.over.then(() => false)])) {
        promised.push(`number ${i}`);
      } else tally.kills++;
    }
    // Two at a time, each of which dies after some steps, until nothing is left that waits.
    for (let generation = 0;; generation++) {
      const mortal = generation < 3 && tally.kills < kills + 10;
      const lives = [1, 2].map(() => new Life(mortal ? 1 + random.below(25) : Infinity, random.chance(0.5)));
      const ends = lives.map(async (life) => {
        const clock = place.clock ?? life.clock;
        const box = outbox(ear(life), life.store(store), { ...options, clock });
        return await Promise.race([
          box.drain({ concurrency: 1 + random.below(4) }),
          life.over.then(() => undefined),
        ]);
      });
      const reports = await Promise.all(ends);
      tally.kills += lives.filter(({ dead }) => dead).length;
      const alive = reports.filter((one) => one !== undefined);
      if (!mortal && alive.every(({ nextAfter }) => nextAfter === undefined)) break;
      for (const life of lives) life.kill(); // so that heartbeats end
      await place.wait(place.lease + 5);
      assert(generation < 50, `SEED=${seed}: it does not end`);
    }
    await Promise.all(flights);
    // Items in doubt are sent again, by decision.
    const calm = outbox(mailer, store, options);
    for await (const entry of calm.list()) {
      assertEquals(entry.state, "in-doubt", `SEED=${seed}`);
      tally.doubted++;
      const subject = (await calm.read(entry.id))!.subject;
      const arrived = server.accepted.filter((mail) => mail.subject === subject).length;
      if (arrived > 0) tally.arrived++;
      else {
        server.fault = undefined;
        assert(await calm.requeue(entry.id));
      }
    }
    server.fault = undefined;
    await calm.drain();
    for (let i = 0; i < MESSAGES; i++) {
      const subject = `number ${i}`;
      const arrivals = server.accepted.filter((mail) => mail.subject === subject).length;
      const where = `SEED=${seed}: ${subject} arrived ${arrivals} times`;
      // A sender that was killed may have queued it or not.
      if (promised.includes(subject)) assert(arrivals >= 1, where);
      // A process that died between the answer and its record lost the answer.
      const lost = taken.filter((one) =>
        one.subject === subject && !(one.heard && one.life.noted.has(one.key))
      ).length;
      assert(arrivals <= 1 + lost, `${where}, ${lost} answers were lost`);
      if (more.whenUnknown !== "resend") assert(arrivals <= 1, where);
      tally.lost += lost;
      tally.twice += Math.max(0, arrivals - 1);
      tally.delivered += Math.min(1, arrivals);
    }
    tally.promised += promised.length;
  }
  return tally;
}

/** The key under which an outbox keeps the message of an idempotency key. */
async function mailKey(key: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(key));
  return `m:${bytesToBase64Url(new Uint8Array(hash)).slice(0, 22)}`;
}

// Without a pool: on a connection that was used before, Deno's fetch may resend a request by itself.
const client = Deno.createHttpClient({ poolMaxIdlePerHost: 0 });
const single: typeof fetch = (input, init) => fetch(input, { ...init, client });
const resend = (baseUrl: string) => resendMailer({ apiKey: RESEND_KEY, baseUrl, fetch: single });
const sendgrid = (baseUrl: string) => sendgridMailer({ apiKey: SENDGRID_KEY, baseUrl, fetch: single });
const providers: [string, () => Promise<MailServer>, (url: string) => Mailer, MailOutboxOptions][] = [
  ["deduplicating provider", startResend, resend, {}],
  ["other provider, held", startSendGrid, sendgrid, { whenUnknown: "hold" }],
  ["other provider, resent", startSendGrid, sendgrid, { whenUnknown: "resend" }],
];

for (const [name, start, provider, more] of providers) {
  Deno.test(`outbox under ${KILLS} kills, memory, ${name}`, async () => {
    const clock = new ManualClock();
    const store = memoryStore({ clock });
    const tally = await run(
      {
        clock,
        lease: 60_000,
        room: () => store.namespace(crypto.randomUUID()),
        wait: (ms) => clock.advance(ms),
      },
      start,
      provider,
      more,
      KILLS,
    );
    report(`memory, ${name}: ${JSON.stringify(tally)}`);
  });
}

const real = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

Deno.test("outbox under kills, Deno KV and Upstash, deduplicating provider and other", async () => {
  using kv = await Deno.openKv(":memory:");
  await using redis = await startRedis();
  await using upstash = await startUpstash(redis.port);
  const stores = { "Deno KV": denoKvStore(kv), "Upstash": upstashStore(upstash) };
  for (const [engine, store] of Object.entries(stores)) {
    for (const [name, start, provider, more] of providers.slice(0, 2)) {
      const place = {
        clock: undefined,
        lease: 200,
        room: () => store.namespace(crypto.randomUUID()),
        wait: real,
      };
      report(`${engine}, ${name}: ${JSON.stringify(await run(place, start, provider, more, KILLS / 20))}`);
    }
  }
});
