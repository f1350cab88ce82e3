import { HoldfastError } from "../errors.ts";
import { createIdempotency } from "../idempotency/idempotency.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { check, equal, rejection } from "./_check.ts";
import type { Law, StoreSubject } from "./law.ts";

/** What idempotency promises on every engine. */
export const idempotencyLaw: readonly Law<StoreSubject<AtomicStore>>[] = [
  {
    name: "of 100 parallel begins one is new, the others are told to come back",
    async run({ store, clock }) {
      const idempotency = createIdempotency(store, { clock });
      const begun = await Promise.all(Array.from({ length: 100 }, () => idempotency.begin("key")));
      equal(begun.filter(({ state }) => state === "new").length, 1, "new");
      check(
        begun.every((b) => b.state === "new" || (b.state === "in-progress" && b.retryAfter > 0)),
        "the others",
      );
    },
  },
  {
    name: "a completed key answers the stored response, null included",
    async run({ store, clock }) {
      const idempotency = createIdempotency(store, { clock });
      for (const response of [{ status: 201 }, null, "", 0, new Uint8Array([1, 255])]) {
        const key = `key-${JSON.stringify(response)}`;
        const begun = await idempotency.begin(key);
        check(begun.state === "new", "the first is new");
        equal(await idempotency.complete(begun.claim, response), { state: "stored" }, "complete");
        equal(await idempotency.complete(begun.claim, response), { state: "stored" }, "complete twice");
        equal(await idempotency.begin(key), { state: "completed", response }, "begin again");
        equal(await idempotency.get(key), { state: "completed", attempt: 1, response }, "get");
      }
      equal(await idempotency.get("nobody"), undefined, "get of nothing");
    },
  },
  {
    name: "another fingerprint is a mismatch, also while the first is in progress",
    async run({ store, clock }) {
      const idempotency = createIdempotency(store, { clock });
      const begun = await idempotency.begin("key", { fingerprint: "a" });
      equal((await idempotency.begin("key", { fingerprint: "b" })).state, "mismatch", "in progress");
      check(begun.state === "new", "the first is new");
      await idempotency.complete(begun.claim, 1);
      equal((await idempotency.begin("key", { fingerprint: "b" })).state, "mismatch", "completed");
      equal((await idempotency.begin("key", { fingerprint: "a" })).state, "completed", "the same");
    },
  },
  {
    name: "a crashed claimant is replaced after its lease, never before, as the next attempt",
    async run({ store, wait, clock }) {
      const idempotency = createIdempotency(store, { clock, lease: 100 });
      const first = await idempotency.begin("key");
      equal((await idempotency.begin("key")).state, "in-progress", "before");
      await wait(110);
      const second = await idempotency.begin("key");
      check(first.state === "new" && second.state === "new", "both are new");
      equal([first.claim.attempt, second.claim.attempt], [1, 2], "attempts");
    },
  },
  {
    name: "a late completer changes nothing and gets the winner's response",
    async run({ store, wait, clock }) {
      const idempotency = createIdempotency(store, { clock, lease: 100 });
      const late = await idempotency.begin("key");
      await wait(110);
      const winner = await idempotency.begin("key");
      check(late.state === "new" && winner.state === "new", "both are new");
      equal(
        await idempotency.complete(late.claim, "late"),
        { state: "superseded", completed: false },
        "too early to know",
      );
      equal(
        [await idempotency.extend(late.claim), await idempotency.abandon(late.claim)],
        [false, false],
        "extend and abandon",
      );
      equal(await idempotency.complete(winner.claim, "winner"), { state: "stored" }, "the winner");
      const answer = await idempotency.complete(late.claim, "late");
      equal(answer, { state: "superseded", completed: true, response: "winner" }, "the late one");
      equal(await idempotency.begin("key"), { state: "completed", response: "winner" }, "what is stored");
    },
  },
  {
    name: "an extended claim is not taken over, an abandoned one is free",
    async run({ store, wait, clock }) {
      const idempotency = createIdempotency(store, { clock, lease: 200 });
      const begun = await idempotency.begin("key");
      check(begun.state === "new", "the first is new");
      await wait(120);
      equal(await idempotency.extend(begun.claim), true, "extend");
      await wait(120);
      equal((await idempotency.begin("key")).state, "in-progress", "after the first lease");
      equal(await idempotency.abandon(begun.claim), true, "abandon");
      equal((await idempotency.begin("key")).state, "new", "after abandoning");
    },
  },
  {
    name: "a record that vanished is stored again, for the work was done",
    async run({ store, clock }) {
      const idempotency = createIdempotency(store, { clock });
      const begun = await idempotency.begin("key");
      check(begun.state === "new", "the first is new");
      await store.clear();
      equal(await idempotency.complete(begun.claim, "done"), { state: "stored" }, "complete");
      equal(await idempotency.begin("key"), { state: "completed", response: "done" }, "begin again");
    },
  },
  {
    name: "a response is kept for its retention",
    async run({ store, wait, clock }) {
      const idempotency = createIdempotency(store, { clock, lease: 50, retention: 150 });
      const begun = await idempotency.begin("key");
      check(begun.state === "new", "the first is new");
      await idempotency.complete(begun.claim, 1);
      await wait(200);
      equal((await idempotency.begin("key")).state, "new", "after the retention");
    },
  },
  {
    name: "run() works once, answers everybody, and runs again after an error",
    async run({ store, clock }) {
      const idempotency = createIdempotency(store, { clock });
      let runs = 0;
      const work = async () => {
        await Promise.resolve();
        return { run: ++runs };
      };
      const answers = await Promise.all(
        Array.from({ length: 20 }, () => idempotency.run("key", work, { wait: 5000 })),
      );
      equal(answers, Array(20).fill({ run: 1 }), "answers");
      const thrown = new Error("mine");
      check(
        await rejection(() => idempotency.run("other", () => Promise.reject(thrown)), "an error") === thrown,
        "fn's own error",
      );
      equal(await idempotency.run("other", () => "second"), "second", "after the error");
      const error = await rejection(
        () => idempotency.run("key", work, { fingerprint: "b" }),
        "another fingerprint",
      );
      check(
        error instanceof HoldfastError && error.code === "fingerprint-mismatch",
        "its code is fingerprint-mismatch",
      );
    },
  },
];
