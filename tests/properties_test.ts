/** Properties of the pure parts, over random histories. */
import fc from "fast-check";
import { memoryStore } from "@holdfast/edge";
import { type Fields, storeFromEngine, toMilliseconds, type Transition } from "@holdfast/edge/engine";
import { beginClaim, completeClaim } from "../src/idempotency/idempotency_transitions.ts";
import { acquireLock, releaseLock } from "../src/lock/lock_transitions.ts";
import { checkThrottle } from "../src/throttle/throttle_transitions.ts";
import { assert, assertEquals, assertThrows } from "./support/assert.ts";

fc.configureGlobal({ numRuns: 500, baseSize: "large" });

/** One record, its deadline, and a clock: the smallest engine. */
function cell() {
  let record: Fields | undefined;
  let expiresAt = Infinity;
  let written = 0;
  const look = (transition: Transition, input: Fields, now: number) =>
    transition.apply(now < expiresAt ? record : undefined, input, now).output;
  const run = (transition: Transition, input: Fields, now: number) => {
    const step = transition.apply(now < expiresAt ? record : undefined, input, now);
    written = step.write?.expiresAt ?? 0;
    if (step.write) {
      record = step.write.record;
      expiresAt = step.write.expiresAt ?? Infinity;
    }
    return step.output;
  };
  /**
   * `look` answers without writing; `written` is the deadline that the last call wrote, 0 if it wrote none.
   */
  return Object.assign(run, { look, written: () => written, ends: () => expiresAt });
}

/** A throttle's policy, as the tests describe it and as the transitions take it. */
interface Policy {
  readonly kind: "gcra" | "fixed" | "sliding";
  readonly limit: number;
  readonly window: number;
  readonly burst: number;
}

const policyLine = ({ kind, limit, window, burst }: Policy, name = "p") =>
  kind === "gcra" ? `gcra:${window}:${limit}:${burst}:${name}` : `${kind}:${window}:${limit}:${name}`;
/** The longest time for which a policy may deny `cost` units that it can ever admit. */
const longestDenial = ({ kind, limit, window }: Policy, cost: number) =>
  kind === "gcra" ? Math.ceil(cost * window / limit) : kind === "sliding" ? 2 * window : window;

const kind = fc.constantFrom("gcra", "fixed", "sliding");
const upTo = (max: number) => fc.integer({ min: 1, max });
const calls = fc.array(fc.record({ gap: fc.nat(400), cost: upTo(5) }), { maxLength: 80 });
const START = 1_700_000_000_000;
/** The difference of clocks beyond which a counter is cut back; see `CLOCK_SKEW` in the transitions. */
const SKEW = 1000;
const DEADLINE_STEP = 10_000;

Deno.test("a throttle never admits more than its bound in any interval", () => {
  fc.assert(fc.property(kind, upTo(10), upTo(2000), calls, (kind, limit, window, calls) => {
    const run = cell();
    const input = { policy0: policyLine({ kind, limit, window, burst: limit }) };
    let now = START;
    const admitted: { at: number; cost: number }[] = [];
    for (const { gap, cost } of calls) {
      now += gap;
      if (run(checkThrottle, { ...input, cost: `${cost}` }, now).allowed === "1") {
        admitted.push({ at: now, cost });
      }
    }
    for (const [i, first] of admitted.entries()) {
      let sum = 0;
      for (const { at, cost } of admitted.slice(i)) {
        sum += cost;
        const windows = (at - first.at) / window;
        // gcra: burst + rate × time; windows: at most a full quota on either side of each edge passed
        const bound = kind === "gcra" ? limit + windows * limit : limit * (Math.floor(windows) + 2);
        assert(sum <= bound + 1e-6, `${kind} admitted ${sum} of ${bound}`);
      }
    }
  }));
});

Deno.test("waiting exactly retryAfter admits, one millisecond less does not", () => {
  fc.assert(
    fc.property(kind, upTo(10), fc.integer({ min: 2, max: 2000 }), calls, (kind, limit, window, calls) => {
      const policy = { policy0: policyLine({ kind, limit, window, burst: limit }) };
      let record: Fields | undefined;
      let now = START;
      for (const { gap, cost } of calls) {
        now += gap;
        const input = { ...policy, cost: `${cost}` };
        const step = checkThrottle.apply(record, input, now);
        if (step.write) record = step.write.record;
        const retry = Number(step.output.policy0!.split(":")[3]);
        assertEquals(retry === -1, cost > limit);
        if (retry <= 0) continue;
        assertEquals(step.write, undefined, "a denied call writes nothing");
        assertEquals(
          checkThrottle.apply(record, input, now + retry).output.allowed,
          "1",
          `${kind}, ${retry}`,
        );
        assertEquals(
          checkThrottle.apply(record, input, now + retry - 1).output.allowed,
          "0",
          `${kind}, before`,
        );
      }
    }),
  );
});

/** The generic cell rate algorithm in exact rationals: times are in milliseconds × limit. */
function exactGcra({ limit, window, burst }: Policy) {
  const [units, width, most] = [BigInt(limit), BigInt(window), BigInt(burst)];
  let arrival = 0n;
  return (cost: number, at: number) => {
    const now = BigInt(at) * units;
    const base = arrival > now ? arrival : now;
    const next = base + BigInt(cost) * width;
    const over = next - now - most * width;
    if (over <= 0n) arrival = next;
    const ahead = (over <= 0n ? next : base) - now;
    return {
      allowed: over <= 0n ? "1" : "0",
      remaining: Number((most * width - ahead) / width),
      retry: over <= 0n ? 0 : cost > burst ? -1 : Number((over + units - 1n) / units),
    };
  };
}

Deno.test("GCRA is exact to the unit from 1 to 10^9 units per window, for windows from 1 ms to 730 days", () => {
  const size = (most: number) => fc.oneof(upTo(10), upTo(most), fc.constantFrom(most, most - 1, 999_999));
  const days = 730 * 86_400_000;
  const parts = fc.array(
    fc.record({
      gap: fc.double({ min: 0, max: 1.1, noNaN: true }),
      cost: fc.double({ min: 0, max: 1, noNaN: true }),
    }),
    {
      maxLength: 40,
    },
  );
  fc.assert(fc.property(size(1e9), size(days), size(1e9), parts, (limit, window, burst, parts) => {
    fc.pre(burst / limit * window <= days);
    const policy: Policy = { kind: "gcra", limit, window, burst };
    const [run, model] = [cell(), exactGcra(policy)];
    let now = START;
    for (const { gap, cost } of parts) {
      now += Math.floor(gap ** 4 * window * burst / limit);
      const units = Math.max(1, Math.ceil(cost ** 2 * burst * 1.01));
      const output = run(checkThrottle, { policy0: policyLine(policy), cost: `${units}` }, now);
      const [remaining, , , retry] = output.policy0!.split(":").map(Number);
      assertEquals({ allowed: output.allowed, remaining, retry }, model(units, now));
    }
  }));
});

Deno.test("GCRA is exact where a product of doubles is not", () => {
  const [limit, window] = [999_999_937, 63_072_000_000]; // coprime, and their product is far beyond 2^53
  // The first unit whose time, `unit * window / limit`, ends a limit-th of a millisecond after a whole one.
  let [unit, power, base] = [1n, BigInt(limit) - 2n, BigInt(window) % BigInt(limit)];
  for (; power > 0n; power >>= 1n, base = base * base % BigInt(limit)) {
    if (power & 1n) unit = unit * base % BigInt(limit); // Fermat: the inverse of the window, modulo a prime
  }
  const before = Number((unit * BigInt(window) - 1n) / BigInt(limit));
  const input = { policy0: policyLine({ kind: "gcra", limit, window, burst: limit }) };
  const run = cell();
  run(checkThrottle, { ...input, cost: `${limit}` }, START);
  const remaining = (now: number) =>
    Number(run.look(checkThrottle, { ...input, cost: "0" }, now).policy0!.split(":")[0]);
  assertEquals(remaining(START + before), Number(unit) - 1);
  assertEquals(remaining(START + before + 1), Number(unit));
});

Deno.test("GCRA at 999,999 units per second admits 999,999 per second", () => {
  const run = cell();
  const policy0 = policyLine({ kind: "gcra", limit: 999_999, window: 1000, burst: 1000 });
  let admitted = 0;
  for (let ms = 0; ms < 1000; ms++) {
    for (const cost of [1000, 999]) {
      if (run(checkThrottle, { policy0, cost: `${cost}` }, START + ms).allowed === "1") {
        admitted += cost;
        break;
      }
    }
  }
  assert(admitted > 999_000 && admitted <= 999_999 + 1000, `${admitted} admitted`);
});

/**
 * The most that a policy may admit over a history: a full count, and what comes back as the clock goes
 * forward.
 */
class Allowance {
  readonly #policy: Policy;
  #forward = 0;
  #windows = 1;

  constructor(policy: Policy) {
    this.#policy = policy;
  }

  moved(from: number, to: number): void {
    const { window } = this.#policy;
    this.#forward += Math.max(0, to - from);
    // A calendar window that is entered again after the clock stepped back counts again.
    this.#windows += Math.abs(Math.floor(to / window) - Math.floor(from / window));
  }

  get most(): number {
    const { kind, limit, window, burst } = this.#policy;
    return kind === "gcra" ? burst + this.#forward * limit / window : limit * this.#windows;
  }
}

Deno.test("policies mixed on one key, with clock steps: no denial beyond a window, no admission beyond the sum", () => {
  const policy: fc.Arbitrary<Policy> = fc.record({
    kind,
    limit: upTo(10),
    // Few windows, so that policies of one window and several limits meet.
    window: fc.constantFrom(1, 50, 1000, 5000, 3_600_000),
    burst: upTo(10),
  });
  const gap = fc.oneof(
    fc.nat(300),
    fc.nat(5000),
    fc.integer({ min: -900, max: -1 }),
    fc.integer({ min: -8000, max: -1 }),
  );
  const call = fc.record({ gap, cost: upTo(5), which: fc.nat(100), both: fc.boolean() });
  fc.assert(
    fc.property(
      fc.array(policy, { minLength: 1, maxLength: 5 }),
      fc.array(call, { maxLength: 120 }),
      (policies, calls) => {
        const run = cell();
        const allowances = policies.map((policy) => new Allowance(policy));
        const admitted = new Map<string, { units: number; policy: number }>();
        let now = START;
        for (const { gap, cost, which, both } of calls) {
          allowances.forEach((allowance) => allowance.moved(now, now + gap));
          now += gap;
          const first = which % policies.length;
          const asked = both && policies.length > 1 ? [first, (first + 1) % policies.length] : [first];
          // Policies of one throttle have names of their own, so each keeps its count whichever others are
          // asked with it.
          const lines = asked.map((n) => policyLine(policies[n]!, `p${both ? n : 0}`));
          const input = Object.fromEntries(lines.map((line, i) => [`policy${i}`, line]));
          const output = run(checkThrottle, { ...input, cost: `${cost}` }, now);
          asked.forEach((n, i) => {
            const retry = Number(output[`policy${i}`]!.split(":")[3]);
            const most = longestDenial(policies[n]!, cost) + SKEW;
            assert(retry <= most, `${lines[i]} denies ${cost} for ${retry} ms, at most ${most} are right`);
            if (output.allowed !== "1") return;
            const units = (admitted.get(lines[i]!)?.units ?? 0) + cost;
            admitted.set(lines[i]!, { units, policy: n });
          });
          if (output.allowed !== "1" && !asked.some((_, i) => output[`policy${i}`]!.endsWith(":-1"))) {
            const retries = asked.map((_, i) => Number(output[`policy${i}`]!.split(":")[3]));
            const later = run.look(checkThrottle, { ...input, cost: `${cost}` }, now + Math.max(...retries));
            assertEquals(later.allowed, "1", "waiting exactly retryAfter admits");
            const early = now + Math.max(...retries) - 1;
            // A clock that stepped back may leave a counter that is ahead of its record's end.
            if (early < run.ends()) {
              const { allowed } = run.look(checkThrottle, { ...input, cost: `${cost}` }, early);
              assertEquals(allowed, "0", "waiting a millisecond less does not");
            }
          }
          const longest = Math.max(...policies.map((policy) => longestDenial(policy, policy.burst)));
          assert(run.written() <= now + longest + SKEW + 2 * DEADLINE_STEP, "the record's end is bounded");
        }
        for (const [line, { units, policy }] of admitted) {
          assert(units <= allowances[policy]!.most + 1e-6, `${line} admitted ${units}`);
        }
      },
    ),
  );
});

Deno.test("a counter with any numbers in it neither throws nor denies beyond a window", () => {
  const digits = fc.oneof(
    fc.nat(20),
    fc.integer({ min: START - 9000, max: START + 9000 }),
    fc.maxSafeInteger(),
  ).map((n) => String(Math.abs(n)).slice(0, 15));
  const policy = fc.record({ kind, limit: upTo(1e9), window: upTo(63_072_000_000), burst: fc.constant(1) });
  fc.assert(fc.property(policy, digits, digits, digits, upTo(5), (policy, since, used, earlier, cost) => {
    const line = policyLine(policy);
    const field = policy.kind === "gcra" ? line : `${policy.kind}:${policy.window}:p`;
    const state = [since, used, ...(policy.kind === "sliding" ? [earlier] : [])].join(":");
    const record = { recordEnds: since, [field]: state, "fixed:9:other": `${since}:${used}` };
    const { output, write } = checkThrottle.apply(record, { policy0: line, cost: `${cost}` }, START);
    const figures = output.policy0!.split(":").map(Number);
    assert(figures.every(Number.isSafeInteger), `${figures}`);
    const most = longestDenial(policy, Math.min(cost, policy.burst));
    assert(figures[3]! <= most + SKEW, `denied for ${figures[3]} ms`);
    const reset = longestDenial(policy, policy.burst);
    assert((write?.expiresAt ?? 0) <= START + reset + SKEW + 2 * DEADLINE_STEP, `until ${write?.expiresAt}`);
  }));
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

Deno.test("an idempotent result never changes until its retention is over", () => {
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

Deno.test("no two keys of any namespaces have the same engine key", async () => {
  const keys: string[] = [];
  const store = storeFromEngine({
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
    for (const [spaces, key] of [one, two]) {
      await spaces.reduce((space, name) => space.namespace(name), store).get(key);
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
