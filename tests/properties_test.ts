/** Properties of the pure parts, over random histories. */
import fc from "fast-check";
import { atomicStore, type Fields, memoryStore, toMilliseconds, type Transition } from "@holdfast/edge";
import { beginClaim, completeClaim } from "../src/idempotency/idempotency_transitions.ts";
import { acquireLock, releaseLock } from "../src/lock/lock_transitions.ts";
import { checkThrottle } from "../src/throttle/throttle_transitions.ts";
import { assert, assertEquals, assertThrows } from "./support/assert.ts";

fc.configureGlobal({ numRuns: 500, baseSize: "large" });

/** One record, its deadline, and a clock: the smallest engine. */
function cell() {
  let record: Fields | undefined;
  let expiresAt = Infinity;
  return (transition: Transition, input: Fields, now: number) => {
    const step = transition.apply(now < expiresAt ? record : undefined, input, now);
    if (step.write) {
      record = step.write.record;
      expiresAt = step.write.expiresAt ?? Infinity;
    }
    return step.output;
  };
}

const algorithm = fc.constantFrom("gcra", "token-bucket", "fixed-window", "sliding-window");
const policyOf = (algorithm: string, limit: number, window: number) =>
  algorithm.endsWith("window")
    ? `${algorithm[0]}:${limit}:${window}:p`
    : `g:${Math.ceil(window * 1000 / limit)}:${limit}:p`;
const steps = fc.array(fc.record({ gap: fc.nat(400), cost: fc.integer({ min: 1, max: 5 }) }), {
  maxLength: 80,
});

Deno.test("a throttle never admits more than its bound in any interval", () => {
  fc.assert(
    fc.property(algorithm, fc.integer({ min: 1, max: 10 }), fc.integer({ min: 1, max: 2000 }), steps, (
      algorithm,
      limit,
      window,
      steps,
    ) => {
      const run = cell();
      const policy = { p0: policyOf(algorithm, limit, window) };
      let now = 1_700_000_000_000;
      const admitted: { at: number; cost: number }[] = [];
      for (const { gap, cost } of steps) {
        now += gap;
        if (run(checkThrottle, { ...policy, c: `${cost}` }, now).a === "1") {
          admitted.push({ at: now, cost });
        }
      }
      for (const [i, first] of admitted.entries()) {
        let sum = 0;
        for (const { at, cost } of admitted.slice(i)) {
          sum += cost;
          const windows = (at - first.at) / window;
          // gcra: burst + rate × time; windows: at most a full quota on either side of each edge passed
          const bound = algorithm.endsWith("window")
            ? limit * (Math.floor(windows) + 2)
            : limit + windows * limit;
          assert(sum <= bound + 1e-6, `${algorithm} admitted ${sum} of ${bound}`);
        }
      }
    }),
  );
});

Deno.test("waiting exactly retryAfter admits, one millisecond less does not", () => {
  fc.assert(
    fc.property(algorithm, fc.integer({ min: 1, max: 10 }), fc.integer({ min: 2, max: 2000 }), steps, (
      algorithm,
      limit,
      window,
      steps,
    ) => {
      const policy = { p0: policyOf(algorithm, limit, window) };
      let record: Fields | undefined;
      let now = 1_700_000_000_000;
      for (const { gap, cost } of steps) {
        now += gap;
        const input = { ...policy, c: `${cost}` };
        const step = checkThrottle.apply(record, input, now);
        if (step.write) record = step.write.record;
        const retry = Number(step.output.p0!.split(":")[3]);
        assertEquals(retry === -1, cost > limit);
        if (retry <= 0) continue;
        assertEquals(step.write, undefined, "a denied call writes nothing");
        assertEquals(
          checkThrottle.apply(record, input, now + retry).output.a,
          "1",
          `${algorithm} after ${retry}`,
        );
        assertEquals(
          checkThrottle.apply(record, input, now + retry - 1).output.a,
          "0",
          `${algorithm} before`,
        );
      }
    }),
  );
});

Deno.test("fencing tokens strictly increase, and two owners never hold at once", () => {
  const step = fc.record({ gap: fc.nat(150), owner: fc.constantFrom("a", "b", "c"), release: fc.boolean() });
  fc.assert(fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
    const run = cell();
    let now = 1_700_000_000_000;
    let fence = 0;
    let holder: { owner: string; until: number } | undefined;
    let life = 0; // an owner is one acquisition: after a release its id is used up
    for (const { gap, owner: client, release } of steps) {
      now += gap;
      const owner = `${client}${life}`;
      if (release) {
        life++;
        const { result } = run(releaseLock, { owner, fence: `${fence}` }, now);
        if (holder?.owner === owner && now < holder.until) assertEquals(result, "released");
        if (holder?.owner === owner) holder = undefined;
        continue;
      }
      const output = run(acquireLock, { owner, ttl: "100" }, now);
      const live = holder !== undefined && now < holder.until;
      assertEquals(output.fence !== undefined, !live || holder!.owner === owner);
      if (output.fence === undefined) continue;
      if (live) assertEquals(Number(output.fence), fence, "the same grant for the same owner");
      else assert(Number(output.fence) > fence, "a new grant is above the last");
      fence = Number(output.fence);
      holder = { owner, until: now + 100 };
    }
  }));
});

Deno.test("what was stored under a key never changes until its retention is over", () => {
  const step = fc.record({ gap: fc.nat(80), owner: fc.constantFrom("a", "b", "c"), complete: fc.boolean() });
  fc.assert(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const run = cell();
    let now = 1_700_000_000_000;
    let stored: string | undefined;
    for (const { gap, owner, complete } of steps) {
      now += gap;
      if (complete) {
        const output = run(
          completeClaim,
          { owner, claim: "1", response: owner, attempt: "1", retention: "1000000" },
          now,
        );
        if (output.state === "stored") assertEquals(stored ??= owner, owner);
        else if (stored !== undefined) assertEquals(output.response, stored);
      } else {
        const output = run(beginClaim, { owner, claim: "1", lease: "100", retention: "1000000" }, now);
        assertEquals(output.state === "done", stored !== undefined);
        if (stored !== undefined) assertEquals(output.response, stored);
      }
    }
  }));
});

Deno.test("any value that JSON can hold comes back, and any text and bytes", async () => {
  const store = memoryStore();
  const value = fc.oneof(
    fc.jsonValue({ noUnicodeString: false }),
    fc.string({ unit: "binary" }),
    fc.uint8Array(),
  );
  await fc.assert(fc.asyncProperty(value, async (value) => {
    await store.set("key", value);
    const expected = value instanceof Uint8Array || typeof value === "string"
      ? value
      : JSON.parse(JSON.stringify(value));
    assertEquals(await store.get("key"), expected);
  }));
});

Deno.test("no two places in any namespaces are the same place", async () => {
  const keys: string[] = [];
  const store = atomicStore({
    name: "spy",
    limits: { maxKeyBytes: 10_000, maxValueLength: 100 },
    list: () => ({ keys: [] }),
    transact(_transition, key) {
      keys.push(key);
      return {};
    },
  });
  const part = fc.array(fc.constantFrom("a", "b", ":", "/", "%", "3A"), { minLength: 1, maxLength: 5 }).map((
    s,
  ) => s.join(""));
  const place = fc.tuple(fc.array(part, { maxLength: 3 }), part);
  await fc.assert(fc.asyncProperty(place, place, async (one, two) => {
    keys.length = 0;
    for (const [rooms, key] of [one, two]) {
      await rooms.reduce((room, name) => room.namespace(name), store).get(key);
    }
    assertEquals(keys[0] === keys[1], JSON.stringify(one) === JSON.stringify(two));
  }));
});

Deno.test("a duration is whole milliseconds, rounded up, or refused", () => {
  assertEquals(["250ms", "1.5s", "5m", "1h", "7d"].map((d) => toMilliseconds(d as "1s")), [
    250,
    1500,
    300_000,
    3_600_000,
    604_800_000,
  ]);
  assertEquals(toMilliseconds(0.1), 1);
  for (const bad of [0, -1, NaN, Infinity, "0s", "-1s", "1", "", "s", "1 s", "1w", "1e3s"]) {
    assertThrows(() => toMilliseconds(bad as "1s"), RangeError);
  }
});
