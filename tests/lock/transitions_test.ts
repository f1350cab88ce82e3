/** Properties of every history of one lock, of any kind, read from its record. */
import fc from "fast-check";
import type { Fields, Transition } from "@holdfast/edge";
import {
  acquireLock,
  extendLock,
  forceLock,
  inspectLock,
  releaseLock,
} from "../../src/lock/lock_transitions.ts";
import { assert, assertEquals } from "../support/assert.ts";

interface Holder {
  readonly owner: string;
  readonly until: number;
  readonly fence: number;
  readonly limit: number;
}

function entries(record: Fields | undefined, kind: string): { owner: string; figures: number[] }[] {
  return Object.entries(record ?? {}).filter(([name, value]) =>
    name.startsWith("by:") && value.startsWith(kind)
  )
    .map(([name, value]) => ({ owner: name.slice(3), figures: value.split(" ").slice(1).map(Number) }));
}

function holders(record: Fields | undefined, now: number): Holder[] {
  return entries(record, "h").map(({ owner, figures: [until, fence, limit] }) => ({
    owner,
    until: until!,
    fence: fence!,
    limit: limit!,
  })).filter(({ until }) => now < until);
}

const OWNERS = ["a", "b", "c", "d", "e"];
const step = fc.record({
  gap: fc.oneof(fc.nat(60), fc.nat(1500)),
  owner: fc.constantFrom(...OWNERS),
  what: fc.constantFrom("acquire", "acquire", "acquire", "release", "release", "extend", "force"),
  limit: fc.constantFrom("1", "1", "2", "3"),
  wait: fc.constantFrom(undefined, "5000", "30000"),
  delay: fc.constantFrom(undefined, undefined, "100"),
});

Deno.test("locks: no history lets too many in, hands a token out twice, passes the queue, or answers a repetition otherwise", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      let record: Fields | undefined;
      let expiresAt = Infinity;
      let now = 1_700_000_000_000;
      let highest = 0;
      const tokens = new Map<string, string>();
      const run = (transition: Transition, input: Fields): Fields => {
        const live = now < expiresAt ? record : undefined;
        const { output, write } = transition.apply(live, input, now);
        if (write) {
          record = write.record;
          expiresAt = write.expiresAt ?? Infinity;
        }
        return output;
      };
      // An owner is one acquisition: the same client is another owner after its release.
      const lives = new Map<string, number>();
      for (const { gap, owner: client, what, limit, wait, delay } of steps) {
        now += gap;
        const owner = `${client}${lives.get(client) ?? 0}`;
        const queue = entries(record, "q").filter(({ figures }) => now < figures[1]!)
          .sort((a, b) => a.figures[0]! - b.figures[0]!).map(({ owner }) => owner);
        const before = holders(record, now);
        const fence = tokens.get(owner);
        const [transition, input] = {
          acquire: [acquireLock, {
            owner,
            ttl: "100",
            limit,
            ...(wait && { wait }),
            ...(delay && { delay }),
          }],
          release: [releaseLock, { owner, ...(fence && { fence }) }],
          extend: [extendLock, { owner, ttl: "200" }],
          force: [forceLock, { fence: fence ?? "0", id: `id${now}` }],
        }[what] as [Transition, Fields];
        const shared = entries(record, "h").some(({ figures }) => figures[2]! > 1);
        const output = run(transition, input);
        // The answer to a release without a token is of no use; all others answer the same again.
        if (what !== "release" || fence) {
          const stored = record;
          const again = run(transition, input);
          // Among sharers one figure tells who lapsed: a repeated release may then say the worse, never the
          // better.
          if (!(shared && again.result === "overtaken")) assertEquals(again, output, "a repetition");
          assertEquals(record, stored, "a repetition changes nothing");
        }
        if (what === "release" || output.done !== undefined) lives.set(client, (lives.get(client) ?? 0) + 1);
        if (output.fence !== undefined) tokens.set(owner, output.fence);
        else if (what === "acquire") tokens.delete(owner); // a new acquisition that waits has no token yet

        const inside = holders(record, now);
        if (inside.length > 1) {
          assert(inside.every(({ limit }) => limit > 1), "an exclusive holder is alone");
          assert(inside.length <= Math.max(...inside.map(({ limit }) => limit)), "no more than are allowed");
        }
        const fresh = inside.filter((one) => !before.some(({ fence }) => fence === one.fence))
          .sort((a, b) => a.fence - b.fence);
        for (const { fence } of fresh) {
          assert(fence > highest && Number.isSafeInteger(fence), "a new token is above all");
          highest = fence;
        }
        // New holders were at the head of the queue, in its order; a newcomer only when no other is left in it.
        const left = queue.filter((name) => name !== owner || what !== "release");
        fresh.forEach((one, i) => {
          if (i < left.length) assertEquals(one.owner, left[i], "first come, first served");
        });
        const { held, waiting } = run(inspectLock, {});
        assertEquals(Number(held ?? 0), inside.length, "inspect counts the holders");
        assert(Number(waiting ?? 0) <= OWNERS.length, "no owner waits twice");
      }
    }),
    { numRuns: 400 },
  );
});
