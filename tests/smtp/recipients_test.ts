/**
 * Servers that answer differently for each recipient: every recipient gets the message, and none gets it
 * twice.
 */
import { memoryStore } from "@holdfast/edge";
import { failover, memoryMailer, outbox, retrying, sendBulk } from "@holdfast/edge/mail";
import { assert, assertEquals } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { type Deviation, type Peer, polite } from "../support/smtp/scripted_server.ts";
import { failure, message, setup } from "./_setup.ts";

const EXTENSIONS = [["PIPELINING"], []];

/** A server that keeps, per accepted message, who it was for. */
class Deliveries {
  readonly messages: string[][] = [];
  readonly #open = new Map<Peer, string[]>();

  /** Deviations that note recipients; `refuse` answers a line, or `undefined` to accept. */
  script(refuse: (address: string, taken: number) => string | undefined): Partial<Record<string, Deviation>> {
    return {
      MAIL: (peer) => {
        this.#open.set(peer, []);
        return Promise.resolve(true);
      },
      RCPT: async (peer, line) => {
        const address = /<(.*)>/.exec(line)![1]!;
        const taken = this.#open.get(peer)!;
        const refusal = refuse(address, taken.length);
        if (refusal) return await peer.say(refusal);
        taken.push(address);
        return true;
      },
      dot: (peer) => {
        const to = this.#open.get(peer)!;
        if (to.length > 0) this.messages.push(to); // a lone dot ends a message without recipients
        return Promise.resolve(true);
      },
    };
  }

  /** The number of recipients of the transaction under way. */
  open(peer: Peer): number {
    return this.#open.get(peer)!.length;
  }

  /** All that got it, sorted; twice if twice. */
  all(): string[] {
    return this.messages.flat().sort();
  }
}

/** Refuses one address until it was asked for so many times before. */
function greylisting(address: string, times = 1): (asked: string) => string | undefined {
  let asked = 0;
  return (one) => one === address && asked++ < times ? "451 4.7.1 greylisted, come back later" : undefined;
}

const two = { ...message, to: ["jane@example.com", "john@example.com"] };

for (const extensions of EXTENSIONS) {
  const how = extensions.length > 0 ? "with PIPELINING" : "without PIPELINING";

  Deno.test(`retrying: of two recipients one is greylisted; both get the message, once each, ${how}`, async () => {
    const deliveries = new Deliveries();
    await using here = setup(polite(deliveries.script(greylisting("john@example.com", 2)), extensions));
    const receipt = await retrying(here.mailer, { delay: 1 }).send(two);
    assertEquals(deliveries.messages, [["jane@example.com"], ["john@example.com"]]);
    assertEquals(receipt.accepted, ["jane@example.com", "john@example.com"]);
    assertEquals([receipt.deferred, receipt.rejected], [undefined, undefined]);
  });

  Deno.test(`outbox: of two recipients one is greylisted; both get the message, once each, ${how}`, async () => {
    const deliveries = new Deliveries();
    await using here = setup(polite(deliveries.script(greylisting("john@example.com", 2)), extensions));
    const clock = new ManualClock();
    const box = outbox(here.mailer, memoryStore({ clock }), { clock });
    await box.send(two, { idempotencyKey: "order-17" });
    const first = await box.drain();
    assertEquals([first.sent, first.deferred, first.retried, first.rejected], [0, 1, 1, 0]);
    for (let i = 0; i < 20 && deliveries.messages.length < 2; i++) {
      await clock.advance(3_600_000);
      await box.drain();
    }
    assertEquals(deliveries.messages, [["jane@example.com"], ["john@example.com"]]);
    assertEquals((await box.send(two, { idempotencyKey: "order-17" })).state, "sent");
    assertEquals((await box.drain()).nextAfter, undefined);
  });
}

Deno.test("the repeated message is the same message: Message-ID and headers do not change", async () => {
  const deliveries = new Deliveries();
  await using here = setup(polite(deliveries.script(greylisting("john@example.com"))));
  await retrying(here.mailer, { delay: 1 }).send({ ...two, cc: "joe@example.com" });
  const { heard } = here.server.connections[0]!;
  const headers = (name: string) => heard.filter((line) => line.startsWith(name));
  assertEquals(headers("To:"), Array(2).fill("To: jane@example.com, john@example.com"));
  assertEquals(headers("Cc:").length, 2);
  assertEquals(new Set(headers("Message-ID:")).size, 1);
  assertEquals(deliveries.all(), ["jane@example.com", "joe@example.com", "john@example.com"]);
});

Deno.test("failover: the next mailer gets the recipients that the first one deferred, and them alone", async () => {
  const deliveries = new Deliveries();
  await using here = setup(polite(deliveries.script(greylisting("john@example.com"))));
  const second = memoryMailer();
  const receipt = await failover([here.mailer, second]).send(two);
  assertEquals(deliveries.messages, [["jane@example.com"]]);
  assertEquals(second.outbox.map(({ mime }) => mime.envelope.to), [["john@example.com"]]);
  assertEquals([receipt.mailer, receipt.deferred], ["smtp", undefined]);
});

Deno.test("a recipient that stays refused for now is deferred in the receipt, and no recipient gets it twice", async () => {
  const deliveries = new Deliveries();
  const script = deliveries.script((address) => address.startsWith("john") ? "451 4.2.0 no" : undefined);
  await using here = setup(polite(script));
  const receipt = await retrying(here.mailer, { delay: 1, attempts: 3 }).send(two);
  assertEquals(receipt.deferred, [{ address: "john@example.com", status: 451 }]);
  assertEquals(deliveries.messages, [["jane@example.com"]]);
  const asked = here.server.connections.flatMap(({ heard }) => heard).filter((line) =>
    /RCPT.*john/.test(line)
  );
  assertEquals(asked.length, 3);
});

Deno.test("a repeated attempt whose reply is lost leaves those recipients unknown, and is not repeated", async () => {
  const deliveries = new Deliveries();
  const script = deliveries.script(greylisting("john@example.com"));
  let dots = 0;
  await using here = setup(polite({
    ...script,
    dot: async (peer, line) => {
      await script.dot!(peer, line);
      if (++dots === 1) return true;
      peer.close();
    },
  }));
  const receipt = await retrying(here.mailer, { delay: 1 }).send(two);
  assertEquals([receipt.accepted, receipt.unknown], [["jane@example.com"], ["john@example.com"]]);
  assertEquals([dots, receipt.deferred], [2, undefined]);
});

Deno.test("outbox: recipients whose delivery became unknown are in doubt, and are requeued alone", async () => {
  const deliveries = new Deliveries();
  const script = deliveries.script((_, taken) => taken === 1 ? "452 4.5.3 too many" : undefined);
  let dots = 0;
  await using here = setup(polite({
    ...script,
    dot: async (peer, line) => {
      await script.dot!(peer, line);
      if (++dots === 2) return peer.close();
      return true;
    },
  }));
  const box = outbox(here.mailer, memoryStore());
  const { id } = await box.send(two);
  assertEquals((await box.drain()).inDoubt, 1);
  assertEquals(await box.requeue(id), true);
  assertEquals((await box.drain()).sent, 1);
  assertEquals(deliveries.messages, [["jane@example.com"], ["john@example.com"], ["john@example.com"]]);
});

const many = Array.from({ length: 300 }, (_, i) => `user${i}@example.com`);

/** The replies by which servers limit the recipients of a transaction. */
const TOO_MANY: Readonly<Record<string, { refuse: string; extensions: string[]; leave?: boolean }>> = {
  "452 4.5.3": { refuse: "452 4.5.3 too many recipients", extensions: ["PIPELINING"] },
  "452 alone": { refuse: "452 too many recipients", extensions: [] },
  "552, as older servers do": { refuse: "552 too many recipients", extensions: ["PIPELINING"] },
  "a 421 after which it leaves": {
    refuse: "421 4.5.3 too many recipients",
    extensions: ["PIPELINING"],
    leave: true,
  },
};

for (const [name, { refuse, extensions, leave }] of Object.entries(TOO_MANY)) {
  Deno.test(`300 recipients, a server that takes 120 and says ${name}: all get it, once each`, async () => {
    const deliveries = new Deliveries();
    const script = deliveries.script((_, taken) => taken >= 120 ? refuse : undefined);
    await using here = setup(polite({
      ...script,
      RCPT: async (peer, line) => {
        const accepted = await script.RCPT!(peer, line);
        if (!accepted && leave) peer.close();
        return accepted;
      },
    }, extensions));
    const receipt = await here.mailer.send({ ...message, to: many });
    assertEquals(deliveries.all(), [...many].sort());
    assertEquals(deliveries.messages.map((to) => to.length), [120, 120, 60]);
    assertEquals([receipt.accepted.length, receipt.deferred, receipt.rejected], [300, undefined, undefined]);
  });
}

Deno.test("a server that refuses DATA for the number of recipients gets half of them at a time", async () => {
  const deliveries = new Deliveries();
  const script = deliveries.script(() => undefined);
  await using here = setup(polite({
    ...script,
    DATA: async (peer) => {
      if (deliveries.open(peer) <= 120) return true;
      await peer.say("452 4.5.3 too many recipients");
      return "refused";
    },
  }));
  const receipt = await here.mailer.send({ ...message, to: many });
  assertEquals(deliveries.all(), [...many].sort());
  assertEquals(deliveries.messages.map((to) => to.length), [75, 75, 75, 75]);
  assertEquals([receipt.accepted.length, here.server.connections.length], [300, 1]);
});

Deno.test("a server that announces RCPTMAX and MAILMAX (RFC 9422) is asked for no more", async () => {
  const deliveries = new Deliveries();
  const extensions = ["PIPELINING", "LIMITS RCPTMAX=50 MAILMAX=2"];
  await using here = setup(polite(deliveries.script(() => undefined), extensions));
  await here.mailer.send({ ...message, to: many.slice(0, 120) });
  await here.mailer.send(message);
  assertEquals(deliveries.messages.map((to) => to.length), [50, 50, 20, 1]);
  assertEquals(here.server.connections.length, 2);
});

Deno.test("sendBulk through retrying: greylisted recipients of every message get theirs, once", async () => {
  const deliveries = new Deliveries();
  const seen = new Set<string>();
  const script = deliveries.script((address) => {
    if (!address.startsWith("grey") || seen.has(address)) return undefined;
    seen.add(address);
    return "451 4.7.1 later";
  });
  await using here = setup(polite(script));
  const messages = Array.from(
    { length: 20 },
    (_, i) => ({ ...message, to: [`white${i}@x.test`, `grey${i}@x.test`] }),
  );
  for await (const result of sendBulk(retrying(here.mailer, { delay: 1 }), messages)) {
    assert(result.state === "sent");
    assertEquals(result.receipt.deferred, undefined);
  }
  assertEquals(deliveries.all(), messages.flatMap(({ to }) => to).sort());
});

Deno.test("recipients outside the message are refused before anything is sent", async () => {
  await using here = setup(polite());
  const error = await here.mailer.send(message, { recipients: ["eve@example.com"] }).catch((error) => error);
  assert(error instanceof TypeError && !error.message.includes("eve"), String(error));
  assertEquals(here.server.connections.length, 0);
});

Deno.test("250 for one recipient, 550 for the next, and gone: the refusal is the error, and is final", async () => {
  let asked = 0;
  await using here = setup(polite({
    RCPT: async (peer) => {
      if (asked++ === 0) return true;
      await peer.say("550 5.7.1 no");
      peer.close();
    },
  }, []));
  const error = await failure(here.mailer.send(two));
  assertEquals([error.code, error.status, error.phase], ["message-rejected", 550, "rcpt"]);
  assertEquals([error.delivery, error.retryable], ["not-sent", false]);
});
