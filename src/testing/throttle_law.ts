import { HoldfastError } from "../errors.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { createThrottle } from "../throttle/create_throttle.ts";
import type { Throttle, ThrottleAlgorithm, ThrottleOptions } from "../throttle/throttle.ts";
import { blockThrottle, checkThrottle, peekThrottle } from "../throttle/throttle_transitions.ts";
import { check, equal, rejection } from "./_check.ts";
import type { Law, StoreSubject } from "./law.ts";

const ALGORITHMS: readonly ThrottleAlgorithm[] = ["gcra", "fixed-window", "sliding-window"];

/** A throttle that throws every fault and waits for the slowest machine. */
function strict(store: AtomicStore, options: Omit<ThrottleOptions, "name">): Throttle {
  return createThrottle(
    store,
    { name: "law", whenUnavailable: "throw", timeout: "30s", ...options } as ThrottleOptions,
  );
}

/** The namespace of the counters of {@linkcode strict}. */
const counters = (store: AtomicStore) => store.namespace("throttle").namespace("law");

/**
 * The laws of throttles on every engine.
 *
 * @category Laws
 */
export const throttleLaw: readonly Law<StoreSubject<AtomicStore>>[] = [
  ...ALGORITHMS.flatMap((algorithm): Law<StoreSubject<AtomicStore>>[] => [
    {
      name: `${algorithm}: parallel checks admit exactly the limit`,
      async run({ store }) {
        const throttle = strict(store, { limit: 20, window: "7d", algorithm });
        const decisions = await Promise.all(Array.from({ length: 100 }, () => throttle.check("key")));
        equal(decisions.filter(({ allowed }) => allowed).length, 20, "admitted");
        equal((await throttle.check("other")).allowed, true, "another key");
      },
    },
    {
      name: `${algorithm}: a denied call consumes nothing, a peek takes nothing, a refund gives back`,
      async run({ store }) {
        const throttle = strict(store, { limit: 10, window: "7d", algorithm });
        equal((await throttle.check("key", { cost: 7 })).remaining, 3, "after 7");
        for (let i = 0; i < 3; i++) {
          equal((await throttle.check("key", { cost: 4 })).allowed, false, "4 are too many");
        }
        const peeked = await throttle.peek("key");
        equal([peeked.allowed, peeked.remaining], [true, 3], "a peek");
        equal((await throttle.check("key", { cost: 3 })).remaining, 0, "the rest");
        equal((await throttle.peek("key")).allowed, false, "a peek when nothing is left");
        const free = await throttle.check("key", { cost: 0 });
        equal([free.allowed, free.remaining, free.retryAfter], [true, 0, 0], "a cost of 0");
        equal((await throttle.refund("key", 4)).remaining, 4, "a refund");
        equal((await throttle.refund("key", 100)).remaining, 10, "never beyond full");
        equal((await throttle.check("key", { cost: 11 })).retryAfter, Infinity, "more than ever fits");
        await throttle.check("key");
        equal(await throttle.reset("key"), true, "reset");
        equal((await throttle.peek("key")).remaining, 10, "after the reset");
      },
    },
    {
      name: `${algorithm}: waiting exactly retryAfter admits`,
      async run({ store, wait }) {
        const throttle = strict(store, { limit: 4, window: 400, algorithm });
        for (let i = 0; i < 4; i++) await throttle.check("key");
        for (let i = 0; i < 3; i++) {
          let decision = await throttle.check("key");
          for (let tries = 0; decision.allowed && tries < 8; tries++) decision = await throttle.check("key");
          check(!decision.allowed && decision.retryAfter > 0, "denied with a time to wait");
          await wait(decision.retryAfter);
          equal((await throttle.check("key")).allowed, true, "after the wait");
        }
      },
    },
    {
      name:
        `${algorithm}: a count belongs to its window, a raised limit helps at once, a lowered one is kept`,
      async run({ store }) {
        const of = (limit: number, window: "7d" | "1h") => strict(store, { limit, window, algorithm });
        const used = of(10, "7d");
        await used.check("key", { cost: 10 });
        equal((await used.check("key")).allowed, false, "used up");
        equal((await of(10, "1h").check("key")).allowed, true, "another window has a count of its own");
        equal((await of(20, "7d").check("key")).allowed, true, "a raised limit");
        const week = 7 * 86_400_000;
        for (const limit of [1, 3, 9]) {
          for (let i = 0; i < 10; i++) await of(limit, "7d").check("key");
          const lowered = await of(limit, "7d").check("key");
          const most = algorithm === "sliding-window" ? 2 * week : week;
          check(!lowered.allowed && lowered.retryAfter <= most, `a lowered limit: ${lowered.retryAfter} ms`);
        }
        equal((await used.check("key")).allowed, false, "what was used up stays so");
      },
    },
    {
      name: `${algorithm}: a counter from the far future denies for no longer than its policy could`,
      async run({ store }) {
        const window = 3_600_000;
        const field = algorithm === "gcra"
          ? `gcra:${window}:2:2:law`
          : `${algorithm.split("-")[0]}:${window}:law`;
        const since = "90000000000000"; // the year 4821
        const state = algorithm === "sliding-window" ? `${since}:2:2` : `${since}:2`;
        const record = { recordEnds: since, [field]: state };
        const plant = { name: "law.plant", apply: () => ({ output: {}, write: { record } }) };
        // Engines that look transitions up by name run no foreign one: there the record cannot be planted.
        const planted = await counters(store).transact(plant, "key", {}).then(() => true, () => false);
        if (!planted) return;
        const throttle = strict(store, { limit: 2, window, algorithm });
        const decision = await throttle.check("key");
        const most = algorithm === "sliding-window" ? 2 * window : window;
        check(decision.retryAfter <= most, `denied for ${decision.retryAfter} ms`);
        check((await throttle.peek("key")).retryAfter <= decision.retryAfter, "the wait has begun");
      },
    },
  ]),
  {
    name: "several policies are one decision: all take the cost, or none",
    async run({ store }) {
      const throttle = strict(store, {
        policies: [
          { name: "burst", limit: 5, window: "7d" },
          { name: "daily", limit: 3, window: "7d", algorithm: "fixed-window" },
        ],
      });
      for (let i = 0; i < 3; i++) equal((await throttle.check("key")).allowed, true, "admitted");
      const denied = await throttle.check("key");
      equal([denied.allowed, denied.limit], [false, 3], "the daily policy denies");
      equal(denied.policies.map(({ remaining }) => remaining), [2, 0], "the burst policy kept its units");
    },
  },
  {
    name: "two throttles share a count, a block and a reset only when they share a name",
    async run({ store }) {
      const named = (name: string) => strict(store, { name, limit: 1, window: "7d" } as ThrottleOptions);
      await named("one").check("key");
      equal((await named("two").check("key")).allowed, true, "another name");
      equal((await named("one").check("key")).allowed, false, "the same name");
      await named("one").block("key", "1h");
      equal((await named("two").check("key")).blockedFor, 0, "a block of another name");
      await named("two").reset("key");
      check((await named("one").check("key")).blockedFor > 0, "a reset of another name");
      equal(
        (await strict(store, { policies: [{ name: "other", limit: 1, window: "7d" }] }).check("key")).allowed,
        true,
        "another policy of one throttle",
      );
    },
  },
  {
    name: "a missing name, an impossible policy and an impossible cost are refused",
    async run({ store }) {
      const refused = async (options: object, type: typeof TypeError | typeof RangeError) => {
        const make = () => Promise.resolve().then(() => createThrottle(store, options as ThrottleOptions));
        check(await rejection(make, "a bad option") instanceof type, `${type.name}: ${Object.keys(options)}`);
      };
      const rule = { name: "law", limit: 1, window: "1s" };
      for (const limit of [0, -1, 1.5, NaN, 1_000_000_001]) await refused({ ...rule, limit }, RangeError);
      await refused({ ...rule, burst: 0 }, RangeError);
      await refused({ ...rule, name: undefined }, TypeError);
      await refused({ ...rule, policies: [rule] }, TypeError);
      await refused({ ...rule, algorithm: "constructor" }, TypeError);
      await refused({ ...rule, algorithm: "fixed-window", burst: 1 }, TypeError);
      await refused({ ...rule, onError: "allow" }, TypeError);
      const throttle = strict(store, { limit: 1, window: "1s" });
      for (const cost of [-1, 0.5, NaN, Infinity]) {
        check(
          await rejection(async () => await throttle.check("key", { cost }), "a bad cost") instanceof
            RangeError,
          "it is a RangeError",
        );
      }
    },
  },
  {
    name: "a blocked key is denied until the block ends or is reset; a refund still counts",
    async run({ store, wait }) {
      const throttle = strict(store, { limit: 5, window: "7d" });
      await throttle.check("key", { cost: 3 });
      await throttle.block("key", 200);
      const denied = await throttle.check("key");
      check(!denied.allowed && denied.blockedFor > 0, "blocked");
      check(denied.retryAfter === denied.blockedFor, "the time to wait is the block's");
      equal((await throttle.peek("key")).allowed, false, "a peek at a blocked key");
      equal((await throttle.check("key", { cost: 0 })).allowed, false, "a cost of 0 at a blocked key");
      equal((await throttle.refund("key", 1)).remaining, 3, "a refund");
      equal((await throttle.check("other")).allowed, true, "another key");
      await wait(denied.retryAfter + 5);
      equal((await throttle.check("key")).remaining, 2, "after the block the count is as it was");
      await throttle.block("key", "1h");
      equal(await throttle.reset("key"), true, "reset");
      equal((await throttle.check("key")).remaining, 4, "after the reset");
    },
  },
  {
    name: "a policy with a short window does not end the count of one with a long window on the same key",
    async run({ store, wait }) {
      const long = strict(store, { policies: [{ name: "long", limit: 2, window: "7d" }] });
      const short = strict(store, { policies: [{ name: "short", limit: 2, window: 50 }] });
      await long.check("key");
      await short.check("key");
      await wait(110);
      equal((await long.check("key")).remaining, 0, "the long one still knows its first call");
    },
  },
  {
    name: "a record that is not a throttle's is a typed error, never replaced",
    async run({ store }) {
      const throttle = strict(store, { limit: 2, window: "1s" });
      await counters(store).set("key", "a value");
      for (
        const call of [
          () => throttle.check("key"),
          () => throttle.check("key", { cost: 0 }),
          () => throttle.peek("key"),
          () => throttle.refund("key", 1),
          () => throttle.block("key", 100),
        ]
      ) {
        const error = await rejection(call, "a corrupt record");
        check(
          error instanceof HoldfastError && error.code === "corrupt-record",
          "its code is corrupt-record",
        );
      }
      equal(await counters(store).get("key"), "a value", "it is still there");
    },
  },
  {
    name: "a deny cache admits exactly the limit, and never counts for another key or cost",
    async run({ store, clock }) {
      const throttle = strict(store, { limit: 20, window: "7d", denyCache: "1s", clock });
      const decisions = await Promise.all(Array.from({ length: 100 }, () => throttle.check("key")));
      equal(decisions.filter(({ allowed }) => allowed).length, 20, "admitted");
      const denied = decisions.filter(({ allowed }) => !allowed);
      check(denied.every(({ retryAfter }) => retryAfter > 0), "the others are told how long to wait");
      equal((await throttle.check("other", { cost: 18 })).allowed, true, "another key");
      equal((await throttle.check("other", { cost: 3 })).allowed, false, "more than is left");
      equal((await throttle.check("other", { cost: 2 })).allowed, true, "a lower cost");
    },
  },
  {
    name: "a check, a refund or a block that arrives twice counts once",
    async run({ store }) {
      const throttle = strict(store, { limit: 5, window: "7d" });
      await throttle.check("key", { cost: 2 });
      for (const cost of ["2", "-1", "-100"]) {
        const input = { cost, call: `call${cost}`, policy0: `gcra:${7 * 86_400_000}:5:5:law` };
        const first = await counters(store).transact(checkThrottle, "key", input);
        const second = await counters(store).transact(checkThrottle, "key", input);
        equal([first.allowed, second.allowed], ["1", "1"], "allowed, both times");
        if (cost === "-1") equal((await throttle.peek("key")).remaining, 2, "5 - 2 - 2 + 1");
      }
      // The last refund left nothing to count, but its copy is still known.
      await throttle.check("key", { cost: 3 });
      const late = { cost: "-100", call: "call-100", policy0: `gcra:${7 * 86_400_000}:5:5:law` };
      await counters(store).transact(checkThrottle, "key", late);
      equal((await throttle.peek("key")).remaining, 2, "a late copy of a refund");
      const block = { duration: "60000", call: "block" };
      await counters(store).transact(blockThrottle, "key", block);
      const longer = { duration: "120000", call: "longer" };
      await counters(store).transact(blockThrottle, "key", longer);
      await counters(store).transact(blockThrottle, "key", block);
      check((await throttle.peek("key")).blockedFor > 60_000, "a late copy of a block");
    },
  },
  {
    name: "a repeated peek answers the same and leaves the record unchanged",
    async run({ store }) {
      const throttle = strict(store, { limit: 5, window: "7d", algorithm: "fixed-window" });
      await throttle.check("key", { cost: 2 });
      const input = { policy0: `fixed:${7 * 86_400_000}:5:law` };
      const first = await counters(store).transact(peekThrottle, "key", input);
      const second = await counters(store).transact(peekThrottle, "key", input);
      equal(first.policy0!.split(":")[0], second.policy0!.split(":")[0], "units left");
      equal((await throttle.check("key")).remaining, 2, "nothing was taken");
    },
  },
  {
    name: "an abort ends a call with the signal's reason",
    async run({ store }) {
      const throttle = strict(store, { limit: 20, window: "7d" });
      const controller = new AbortController();
      const { signal } = controller;
      const first = throttle.check("key", { signal });
      const calls: Record<string, () => Promise<unknown>> = {
        check: () => first,
        peek: () => throttle.peek("key", { signal }),
        refund: () => throttle.refund("key", 1, { signal }),
        block: () => throttle.block("key", "1m", { signal }),
        reset: () => throttle.reset("key", { signal }),
      };
      const reason = new Error("enough");
      controller.abort(reason);
      for (const [name, call] of Object.entries(calls)) {
        check(await rejection(call, name) === reason, `${name} rejects with the reason`);
      }
      equal((await throttle.check("key")).allowed, true, "another call");
    },
  },
];
