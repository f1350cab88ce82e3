import type { AtomicStore } from "../store/atomic_store.ts";
import { HoldfastError } from "../errors.ts";
import {
  createThrottle,
  type Throttle,
  type ThrottleAlgorithm,
  type ThrottleOptions,
} from "../throttle/throttle.ts";
import { checkThrottle } from "../throttle/throttle_transitions.ts";
import { check, equal, rejection } from "./_check.ts";
import type { Law, StoreSubject } from "./law.ts";

const ALGORITHMS: readonly ThrottleAlgorithm[] = ["gcra", "token-bucket", "fixed-window", "sliding-window"];

/** A throttle that hides no fault and waits for the slowest machine. */
function strict(store: AtomicStore, options: ThrottleOptions): Throttle {
  return createThrottle(store, { onError: "throw", timeout: "30s", ...options });
}

/** What throttles promise on every engine. */
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
      name: `${algorithm}: a denied call consumes nothing, a look takes nothing, a refund gives back`,
      async run({ store }) {
        const throttle = strict(store, { limit: 10, window: "7d", algorithm });
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
    name: "two throttles share a count only when they share a namespace and a name",
    async run({ store }) {
      const policy = { limit: 1, window: "7d" } as const;
      await strict(store, policy).check("key");
      equal(
        (await strict(store, { ...policy, namespace: "other" }).check("key")).allowed,
        true,
        "another namespace",
      );
      equal(
        (await strict(store, { ...policy, name: "other" }).check("key")).allowed,
        true,
        "another name",
      );
      equal((await strict(store, policy).check("key")).allowed, false, "the same");
    },
  },
  {
    name: "a policy or cost that makes no sense is refused",
    async run({ store }) {
      for (
        const policy of [{ limit: 0 }, { limit: -1 }, { limit: 1.5 }, { limit: NaN }, { limit: 1, burst: 0 }]
      ) {
        const error = await rejection(
          () => Promise.resolve().then(() => strict(store, { window: "1s", ...policy })),
          "a bad policy",
        );
        check(error instanceof RangeError, "it is a RangeError");
      }
      const throttle = strict(store, { limit: 1, window: "1s" });
      for (const cost of [0, -1, 0.5, NaN]) {
        check(
          await rejection(async () => await throttle.check("key", { cost }), "a bad cost") instanceof
            RangeError,
          "it is a RangeError",
        );
      }
    },
  },
  {
    name: "a blocked key is denied until the block is over or reset, and a refund counts all the same",
    async run({ store, wait }) {
      const throttle = strict(store, { limit: 5, window: "7d" });
      await throttle.check("key", { cost: 3 });
      await throttle.block("key", 200);
      const denied = await throttle.check("key");
      check(!denied.allowed && denied.blockedFor > 0, "blocked");
      check(denied.retryAfter === denied.blockedFor, "the time to wait is the block's");
      equal((await throttle.peek("key")).allowed, false, "a look says so");
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
    name: "a throttle with a short window does not end the count of one with a long window beside it",
    async run({ store, wait }) {
      const long = strict(store, { limit: 2, window: "7d", name: "long" });
      const short = strict(store, { limit: 2, window: 50, name: "short" });
      await long.check("key");
      await short.check("key");
      await wait(110);
      equal((await long.check("key")).remaining, 0, "the long one still knows its first call");
    },
  },
  {
    name: "what is no record of ours is a typed error, never replaced",
    async run({ store }) {
      const throttle = strict(store, { limit: 2, window: "1s" });
      const room = store.namespace("throttle");
      await room.set("key", "somebody else's");
      for (
        const call of [
          () => throttle.check("key"),
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
      equal(await room.get("key"), "somebody else's", "it is still there");
    },
  },
  {
    name: "a reserve and a deny cache admit exactly the limit, and never count for another key",
    async run({ store, clock }) {
      const options = { limit: 20, window: "7d", reserve: 6, denyCache: "1s", clock } as const;
      const isolates = [strict(store, options), strict(store, options)];
      const checks = Array.from({ length: 100 }, (_, i) => isolates[i % 2]!.check("key"));
      const decisions = await Promise.all(checks);
      const admitted = decisions.filter(({ allowed }) => allowed).length;
      check(admitted <= 20 && admitted > 20 - 6, `nearly all, and never more: ${admitted}`);
      const denied = decisions.filter(({ allowed }) => !allowed);
      check(denied.every(({ retryAfter }) => retryAfter > 0), "the others know how long to wait");
      equal((await isolates[0]!.check("other")).allowed, true, "another key");
    },
  },
  {
    name: "a check that arrives twice counts once, and a refund too",
    async run({ store }) {
      const room = store.namespace("throttle");
      const throttle = strict(store, { limit: 5, window: "7d" });
      await throttle.check("key", { cost: 2 });
      for (const c of ["2", "-1"]) {
        const input = { c, i: `call${c}`, p0: `g:${7 * 86_400_000_000 / 5}:5:default` };
        const answers = [await room.transact(checkThrottle, "key", input)];
        answers.push(await room.transact(checkThrottle, "key", input));
        check(answers.every(({ a }) => a === "1"), "allowed, both times");
      }
      equal((await throttle.peek("key")).remaining, 2, "5 - 2 - 2 + 1");
    },
  },
  {
    name: "who gives up a check gives up alone: others wait on for the same reserve",
    async run({ store, clock }) {
      const throttle = strict(store, { limit: 20, window: "7d", reserve: 5, clock });
      const controller = new AbortController();
      const { signal } = controller;
      const [first, second] = [throttle.check("key", { signal }), throttle.check("key")];
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
      equal((await second).allowed, true, "the other");
    },
  },
];
