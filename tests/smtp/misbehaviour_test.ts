/**
 * A server that does everything wrong at every step, in every runtime: the error always tells what became of
 * the message.
 */
import { assert, assertEquals } from "../support/assert.ts";
import { runIn, RUNTIMES } from "../support/runtimes.ts";
import {
  type Deviation,
  type Peer,
  polite,
  startScripted,
  type Step,
} from "../support/smtp/scripted_server.ts";
import { workerdTest } from "../support/workerd.ts";
import type { Fault } from "./_misbehaviour_scenario.ts";

const STEPS = ["greeting", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "body", "dot"] as const;
const PHASE = {
  greeting: "greeting",
  EHLO: "hello",
  AUTH: "auth",
  MAIL: "mail",
  RCPT: "rcpt",
  DATA: "data",
  body: "body",
  dot: "reply",
} as const;
const EXTENSIONS = ["PIPELINING", "SIZE 1000000", "AUTH PLAIN"];

const answer = (text: string): Deviation => async (peer) => {
  await peer.send(text);
};
/** Sends the text and closes: a client must understand the text without seeing the connection open. */
const leave = (text: string): Deviation => async (peer: Peer) => {
  await peer.send(text);
  peer.close();
};

const BEHAVIOURS: Readonly<Record<string, Deviation>> = {
  "closes": (peer) => Promise.resolve(peer.close()),
  "closes in the middle of a reply": leave("250-first\r\n25"),
  "sends garbage": answer("\x00\xff\x13 this is no SMTP\r\n"),
  "answers HTTP": answer("HTTP/1.1 400 Bad Request\r\n\r\n"),
  "sends a line without an end": answer("250 " + "x".repeat(100_000)),
  "sends a reply without an end": answer("250-x\r\n".repeat(2000)),
  "changes the code in a reply": answer("250-one\r\n550 two\r\n"),
  "hangs": async (peer) => {
    while (await peer.line() !== undefined);
  },
  "421": leave("421 4.3.2 shutting down\r\n"),
  "421 without leaving": answer("421 4.3.2 shutting down\r\n"),
  "450": answer("450 4.2.0 later, john@example.com\r\n"),
  "550": answer("550 5.1.1 <john@example.com>: no user here for account\r\n"),
  "552": answer("552 5.3.4 too big\r\n"),
  "550 and closes": leave("550 5.7.1 no\r\n"),
};

/** The expected error, derived from the protocol and not from the code. */
function expected(step: typeof STEPS[number], behaviour: string): Partial<Fault> {
  const phase = PHASE[step];
  // The last reply before the server leaves decides, also when another recipient was not answered for.
  const reply = /^\d{3}/.exec(behaviour)?.[0];
  if (reply === undefined) {
    const delivery = step === "dot" ? "unknown" : "not-sent";
    const code = behaviour === "hangs" ? "timeout" : "backend-unavailable";
    return { code, phase, delivery, retryable: delivery === "not-sent", status: undefined };
  }
  const transaction = ["MAIL", "RCPT", "DATA", "body", "dot"].includes(step);
  const code = reply === "421"
    ? "backend-unavailable"
    : step === "AUTH"
    ? (reply === "450" ? "backend-unavailable" : "unauthorized")
    : !transaction
    ? "backend-unavailable"
    : reply === "552"
    ? "message-too-large"
    : "message-rejected";
  return { code, phase, delivery: "not-sent", retryable: reply[0] === "4", status: Number(reply) };
}

workerdTest("every misbehaviour at every step gives the right error, in every runtime", async (t) => {
  const cases = STEPS.flatMap((step) => Object.keys(BEHAVIOURS).map((behaviour) => ({ step, behaviour })))
    // A server that only listens while the message comes does nothing wrong.
    .filter(({ step, behaviour }) => !(step === "body" && behaviour === "hangs"));
  const servers = cases.map(({ step, behaviour }) =>
    startScripted(polite({ [step as Step]: BEHAVIOURS[behaviour]! }, EXTENSIONS))
  );
  const ports = servers.map(({ port }) => port);
  try {
    for (const runtime of RUNTIMES) {
      await t.step(runtime, async () => {
        const faults: Fault[] = [];
        let wrong = new Map(cases.map((_, i) => [i, ""]));
        // A busy machine may be slower than a second: what went wrong by that is right with more time.
        for (const milliseconds of [1000, 10_000]) {
          const indexes = [...wrong.keys()];
          if (indexes.length === 0) break;
          const found = await runIn<Fault[]>(runtime, "tests/smtp/_misbehaviour_scenario.ts", {
            ports: indexes.map((i) => ports[i]!),
            timeouts: { connect: 30_000, greeting: milliseconds, command: milliseconds, data: milliseconds },
          });
          for (const [n, i] of indexes.entries()) faults[i] = found[n]!;
          wrong = judge(faults);
        }
        assertEquals([...wrong.values()].join("\n"), "");
      });
    }
  } finally {
    for (const server of servers) await server[Symbol.asyncDispose]();
  }

  /** The cases that were answered wrongly, by their index. */
  function judge(faults: readonly Fault[]): Map<number, string> {
    const wrong = new Map<number, string>();
    for (const [i, { step, behaviour }] of cases.entries()) {
      const { told, code, phase, delivery, retryable, status } = faults[i]!;
      // By the time a server speaks up the message may be in the network's buffers to its last dot, or
      // break just there.
      const dot = expected("dot", behaviour);
      const want = [
        expected(step, behaviour),
        ...(step === "body" ? [dot, { ...dot, phase: "body" }] : []),
      ];
      const got = { code, phase, delivery, retryable, status };
      const same = (one: Partial<Fault>) =>
        Object.entries(one).every(([name, value]) => got[name as keyof typeof got] === value);
      if (!want.some(same)) {
        wrong.set(
          i,
          `${step} ${behaviour}: ${JSON.stringify(faults[i])} instead of ${JSON.stringify(want)}`,
        );
      }
      assert(
        !/@|\bj(?:ane|ohn|oe)\b|account|secret|YWNjb3/.test(told ?? ""),
        `${step} ${behaviour}: ${told}`,
      );
    }
    return wrong;
  }
});
