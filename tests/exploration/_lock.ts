import { lockTransitions } from "@holdfast/edge/engine";
import { CALLERS, including, type Subject } from "./_subject.ts";

const TTL = 10;

interface Known {
  /** Of the holder: its token, and until when it may count on the lock. */
  readonly held: Readonly<Record<string, readonly [fence: number, until: number]>>;
  /** The owners whose release was executed. */
  readonly ended: readonly string[];
  readonly highest: number;
}

/** The locks still held when a message is executed: a clock that steps back later gives nothing back. */
function lasting(held: Known["held"], now: number): Known["held"] {
  return Object.fromEntries(
    Object.entries(held).map(([owner, [fence, until]]) => [owner, [fence, now < until ? until : 0]]),
  );
}

/** Locks: three owners acquire, wait in a queue, extend and release. */
export const lock: Subject<Known> = {
  name: "lock",
  transitions: lockTransitions,
  path: "src/lock/lock_transitions.ts",
  scenario: {
    begin: { held: {}, ended: [], highest: 0 },
    sent: CALLERS.map((owner) => `acquire ${owner}`),
    steps: [5, 10, -3],
    call(name) {
      const [verb, owner] = name.split(" ") as [string, string];
      if (verb === "release") return { transition: "lock.release", input: { owner } };
      if (verb === "extend") return { transition: "lock.extend", input: { owner, ttl: String(TTL) } };
      // The last caller waits in the queue.
      const wait: Record<string, string> = owner === "c" ? { wait: "1000" } : {};
      return { transition: "lock.acquire", input: { owner, ttl: String(TTL), ...wait } };
    },
    sendable: ({ known }) => [
      ...CALLERS.map((owner) => `release ${owner}`),
      ...["a", "b"].filter((owner) => known.held[owner]).map((owner) => `extend ${owner}`),
    ],
    learn(name, output, received, { known: earlier, now, sent }) {
      const known = { ...earlier, held: lasting(earlier.held, now) };
      const [verb, owner] = name.split(" ") as [string, string];
      if (verb === "release") return { ...known, ended: including(known.ended, owner) };
      if (output.until === undefined) return known;
      if (known.ended.includes(owner)) throw new Error("An owner that released is never granted again");
      const before = known.held[owner];
      const until = Number(output.until);
      if (verb === "extend") {
        if (before === undefined) throw new Error("An owner that lost the lock never extends it");
        const counts = received ? Math.max(before[1], until) : before[1];
        return { ...known, held: { [owner]: [before[0], counts] } };
      }
      const fence = Number(output.fence);
      if (before !== undefined && fence !== before[0] && now < before[1]) {
        throw new Error("An owner keeps its token while it holds");
      }
      if (fence !== before?.[0] && fence <= known.highest) {
        throw new Error("Tokens strictly increase from holder to holder");
      }
      for (const other of CALLERS) {
        const its = known.held[other];
        if (other !== owner && its && now < its[1] && !sent.includes(`release ${other}`)) {
          throw new Error("While a holder's lease lasts no other is granted");
        }
      }
      if (before !== undefined && until < before[1]) {
        throw new Error("A repeated call never shortens a lease");
      }
      // Without the reply the caller counts on nothing, but the token was handed out.
      const counts = received ? Math.max(before?.[1] ?? 0, until) : before?.[1] ?? 0;
      return { ...known, held: { [owner]: [fence, counts] }, highest: Math.max(known.highest, fence) };
    },
  },
  mutants: [
    [`if (isAmong(state.done, owner)) return { output: { done: "1" } };`, ""],
    ["Math.max(state.fence + 1, microseconds(now))", "microseconds(now)"],
    ["(known || input.fence === undefined) && finish(state, owner)", "false"],
    ["if (state.queue.length > 0 || !fits(state, limit)) return undefined;", ""],
    [
      "mine.until = Math.max(mine.until, now + Number(input.ttl));\n      if",
      "mine.until = now + Number(input.ttl);\n      if",
    ],
    [
      "    const mine = find(state.holders, owner);\n    const ticket",
      "    const mine = state.holders[0];\n    const ticket",
    ],
  ],
};
