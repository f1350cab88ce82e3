import type { AtomicStore } from "../store/atomic_store.ts";
import { createThrottle, type ThrottleAlgorithm } from "../throttle/throttle.ts";
import { check, equal, rejection } from "./_check.ts";
import type { Law, StoreSubject } from "./law.ts";

const ALGORITHMS: readonly ThrottleAlgorithm[] = ["gcra", "token-bucket", "fixed-window", "sliding-window"];

/** What throttles promise on every engine. */
export const throttleLaw: readonly Law<StoreSubject<AtomicStore>>[] = [
  ...ALGORITHMS.flatMap((algorithm): Law<StoreSubject<AtomicStore>>[] => [
    {
      name: `${algorithm}: parallel checks admit exactly the limit`,
      async run({ store }) {
        const throttle = createThrottle(store, { limit: 20, window: "7d", algorithm });
        const decisions = await Promise.all(Array.from({ length: 100 }, () => throttle.check("key")));
        equal(decisions.filter(({ allowed }) => allowed).length, 20, "admitted");
        equal((await throttle.check("other")).allowed, true, "another key");
      },
    },
    {
      name: `${algorithm}: a denied call consumes nothing, a look takes nothing, a refund gives back`,
      async run({ store }) {
        const throttle = createThrottle(store, { limit: 10, window: "7d", algorithm });
        equal((await throttle.check("key", { cost: 7 })).remaining, 3, "after 7");
        for (let i = 0; i < 3; i++) {
          equal((await throttle.check("key", { cost: 4 })).allowed, false, "4 are too many");
        }
        const look = await throttle.peek("key");
        equal([look.allowed, look.remaining], [true, 3], "a look");
        equal((await throttle.check("key", { cost: 3 })).remaining, 0, "the rest");
        equal((await throttle.peek("key")).allowed, false, "a look at nothing");
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
        const throttle = createThrottle(store, { limit: 4, window: 400, algorithm });
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
  ]),
  {
    name: "several policies are one decision: all take the cost, or none",
    async run({ store }) {
      const throttle = createThrottle(store, {
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
    name: "two throttles share a count only when they share a namespace and a name",
    async run({ store }) {
      const policy = { limit: 1, window: "7d" } as const;
      await createThrottle(store, policy).check("key");
      equal(
        (await createThrottle(store, { ...policy, namespace: "other" }).check("key")).allowed,
        true,
        "another namespace",
      );
      equal(
        (await createThrottle(store, { ...policy, name: "other" }).check("key")).allowed,
        true,
        "another name",
      );
      equal((await createThrottle(store, policy).check("key")).allowed, false, "the same");
    },
  },
  {
    name: "a policy or cost that makes no sense is refused",
    async run({ store }) {
      for (
        const policy of [{ limit: 0 }, { limit: -1 }, { limit: 1.5 }, { limit: NaN }, { limit: 1, burst: 0 }]
      ) {
        const error = await rejection(
          () => Promise.resolve().then(() => createThrottle(store, { window: "1s", ...policy })),
          "a bad policy",
        );
        check(error instanceof RangeError, "it is a RangeError");
      }
      const throttle = createThrottle(store, { limit: 1, window: "1s" });
      for (const cost of [0, -1, 0.5, NaN]) {
        check(
          await rejection(async () => await throttle.check("key", { cost }), "a bad cost") instanceof
            RangeError,
          "it is a RangeError",
        );
      }
    },
  },
];
