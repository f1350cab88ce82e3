/**
 * The pool against servers with limits of their own: every message is sent, and connections are left when
 * they are of no use.
 */
import { retrying, sendBulk } from "@holdfast/edge/mail";
import { assert, assertEquals } from "../support/assert.ts";
import { type Peer, polite } from "../support/smtp/scripted_server.ts";
import { failure, message, setup } from "./_setup.ts";

const numbered = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ ...message, subject: `number ${i}` }));

/** Refuses MAIL after so many messages on a connection. */
function limited(most: number, refusal: string, leave: boolean) {
  const carried = new Map<Peer, number>();
  return polite({
    MAIL: async (peer) => {
      const count = carried.get(peer) ?? 0;
      if (count < most) {
        carried.set(peer, count + 1);
        return true;
      }
      await peer.say(refusal);
      if (leave) peer.close();
    },
  });
}

for (
  const [name, refusal, leave] of [
    ["452 4.5.3", "452 4.5.3 too many messages on this connection", false],
    ["421 and leaves", "421 4.7.0 too many messages on this connection", true],
  ] as const
) {
  for (const maxConnections of [1, 5]) {
    Deno.test(`a server of ten messages a connection (${name}), ${maxConnections} connections: all of 70 are sent`, async () => {
      await using here = setup(limited(10, refusal, leave), { maxConnections });
      let sent = 0;
      for await (const { state } of sendBulk(here.mailer, numbered(70))) sent += state === "sent" ? 1 : 0;
      assertEquals(sent, 70);
      const subjects = here.server.connections.flatMap(({ heard }) =>
        heard.filter((line) => /^Subject/.test(line))
      );
      assertEquals([subjects.length, new Set(subjects).size], [70, 70]);
    });
  }
}

Deno.test("a connection whose MAIL was refused for now is not used again, and retrying succeeds on another", async () => {
  // The first connection refuses for good measure; a new one takes everything.
  await using here = setup(polite({
    MAIL: async (peer) => {
      if (peer.number > 0) return true;
      await peer.say("451 4.3.0 try again");
    },
  }));
  const error = await failure(here.mailer.send(message));
  assertEquals([error.status, error.retryable, error.delivery], [451, true, "not-sent"]);
  await retrying(here.mailer, { delay: 1 }).send(message);
  assertEquals(
    here.server.connections.map(({ heard }) => heard.filter((line) => /^MAIL/.test(line)).length),
    [1, 1],
  );
  assert(here.server.connections[0]!.heard.includes("QUIT"), "the refused connection was left politely");
});

/** Admits so many connections at once; answers the others with a line and closes. */
function admitting(most: number, refusal: string | undefined) {
  let open = 0;
  let highest = 0;
  const script = async (peer: Peer) => {
    if (open >= most) {
      if (refusal) await peer.say(refusal);
      return;
    }
    highest = Math.max(highest, ++open);
    try {
      await polite({ dot: () => new Promise((resolve) => setTimeout(resolve, 5, true)) })(peer);
    } finally {
      open--;
    }
  };
  return { script, highest: () => highest };
}

for (
  const [name, refusal] of [["421", "421 too many connections"], ["a closed connection", undefined]] as const
) {
  Deno.test(`a server of three connections (${name}) and a pool of six: all of 30 are sent`, async () => {
    const server = admitting(3, refusal);
    await using here = setup(server.script, { maxConnections: 6 });
    await here.mailer.send(message); // one connection is there
    const sent = await Promise.allSettled(numbered(30).map((one) => here.mailer.send(one)));
    assertEquals(sent.filter(({ status }) => status === "rejected"), []);
    assert(server.highest() <= 3);
  });
}

Deno.test("a server that admits no connection: every message fails soon, as retryable", async () => {
  await using here = setup(async (peer) => await peer.say("421 4.3.2 closed for today"), {
    maxConnections: 3,
  });
  const sent = await Promise.allSettled(numbered(20).map((one) => here.mailer.send(one)));
  for (const one of sent) {
    assert(one.status === "rejected");
    assertEquals([one.reason.code, one.reason.status, one.reason.retryable], [
      "backend-unavailable",
      421,
      true,
    ]);
  }
  assert(
    here.server.connections.length <= 60,
    `${here.server.connections.length} connections for 20 messages`,
  );
});

Deno.test("at most maxWaiting messages wait for a connection; further ones are refused as queue-full, not sent", async () => {
  let go = () => {};
  const gate = new Promise<void>((resolve) => go = resolve);
  const MAIL = () => gate.then(() => true as const);
  await using here = setup(polite({ MAIL }), { maxConnections: 1, maxWaiting: 3 });
  const sending = numbered(10).map((one) => here.mailer.send(one).then(() => "sent", (error) => error));
  const outcomes = await Promise.all(sending.slice(4));
  for (const error of outcomes) {
    assertEquals([error.code, error.delivery, error.retryable], ["queue-full", "not-sent", true]);
  }
  go();
  assertEquals(await Promise.all(sending.slice(0, 4)), Array(4).fill("sent"));
});
