import { HoldfastError } from "../errors.ts";
import { createIdempotency } from "../idempotency/create_idempotency.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { check, equal, eventually, rejection } from "./_check.ts";
import { idempotencyRepetitionLaw } from "./_idempotency_repetition_law.ts";
import type { Law, StoreSubject } from "./law.ts";

/**
 * The promises of idempotency on every engine.
 *
 * @category Laws
 */
export const idempotencyLaw: readonly Law<StoreSubject<AtomicStore>>[] = [
  {
    name: "of 100 parallel begins one is new, the others are in progress with retryAfter",
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
      equal(await idempotency.get("none"), undefined, "get of a free key");
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
    name: "a completion after another claimant's changes nothing and gets the stored response",
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
    name: "complete() stores the result again when the record vanished, as the work was done",
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
      const longer = await idempotency.begin("longer", { retention: "1h" });
      check(begun.state === "new" && longer.state === "new", "the first is new");
      for (const { claim } of [begun, longer]) await idempotency.complete(claim, 1);
      await wait(200);
      equal((await idempotency.begin("key")).state, "new", "after the retention");
      equal((await idempotency.begin("longer")).state, "completed", "within it, after the lease");
    },
  },
  {
    name: "run() runs the work once, gives all callers its result, and runs it again after an error",
    async run({ store, clock, wait }) {
      const idempotency = createIdempotency(store, { clock });
      let runs = 0;
      const work = async () => {
        await Promise.resolve();
        return { run: ++runs };
      };
      const calls = Array.from({ length: 20 }, () => idempotency.run("key", work, { wait: "1m" }));
      // A waiter asks again after a pause on the injected clock: it must not stand still meanwhile.
      const answers = await eventually(Promise.all(calls), wait, 30_000);
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
  {
    name: "the same owner gets the same claim again: a begin whose reply was lost may be repeated",
    async run({ store, clock }) {
      const idempotency = createIdempotency(store, { clock });
      const first = await idempotency.begin("key", { owner: "me" });
      const again = await idempotency.begin("key", { owner: "me" });
      check(first.state === "new", "the first is new");
      check(again.state === "new", "the second is new");
      equal({ ...again.claim, id: "" }, { ...first.claim, id: "" }, "the second is the same but for its id");
      equal((await idempotency.begin("key", { owner: "you" })).state, "in-progress", "another owner");
      equal(await idempotency.abandon(first.claim), false, "the first is no longer the current one");
      equal(
        (await idempotency.begin("key", { owner: "you" })).state,
        "in-progress",
        "the second is still held",
      );
      equal(await idempotency.abandon(again.claim), true, "abandon");
      equal(await idempotency.abandon(again.claim), true, "abandon again");
    },
  },
  {
    name: "run() keeps the results that storeIf accepts and those that were pinned, undefined included",
    async run({ store, clock }) {
      const idempotency = createIdempotency(store, { clock });
      let runs = 0;
      const storeIf = (result: number) => result > 1;
      equal(await idempotency.run("key", () => ++runs, { storeIf }), 1, "not kept");
      equal(await idempotency.run("key", () => ++runs, { storeIf }), 2, "kept");
      equal(await idempotency.run("key", () => ++runs, { storeIf }), 2, "answered again");
      const never = { storeIf: () => false };
      equal(await idempotency.run("pinned", ({ pin }) => pin(), never), undefined, "pinned");
      equal(await idempotency.run<unknown>("pinned", () => ++runs, never), undefined, "undefined comes back");
      equal(await idempotency.begin("pinned"), { state: "completed", response: undefined }, "it is a result");
    },
  },
  {
    name: "pinned work that throws is never run again",
    async run({ store, clock }) {
      const idempotency = createIdempotency(store, { clock });
      const thrown = new Error("after the money moved");
      const work = ({ pin }: { pin(): void }) => {
        pin();
        throw thrown;
      };
      check(
        await rejection(() => idempotency.run("key", work), "an error") === thrown,
        "the first caller gets the error",
      );
      const error = await rejection(() => idempotency.run("key", () => "again"), "the second caller");
      check(
        error instanceof HoldfastError && error.code === "response-not-retained",
        "its code is response-not-retained",
      );
      equal((await idempotency.get("key"))?.state, "not-retained", "get");
      equal((await idempotency.begin("key")).state, "not-retained", "begin");
    },
  },
  {
    name: "a result that cannot be stored counts as done",
    async run({ store, clock }) {
      const idempotency = createIdempotency(store, { clock });
      const error = await rejection(() => idempotency.run("key", () => 1n), "no JSON");
      check(error instanceof TypeError, "it is a TypeError");
      equal((await idempotency.begin("key")).state, "not-retained", "it does not run again");
    },
  },
  {
    name: "run() rejects with in-progress when another caller works for longer than the wait",
    async run({ store, clock }) {
      const idempotency = createIdempotency(store, { clock });
      await idempotency.begin("key");
      const error = await rejection(() => idempotency.run("key", () => 1), "another caller works");
      check(
        error instanceof HoldfastError && error.code === "in-progress" && error.retryable &&
          error.retryAfter! > 0,
        "in-progress, retryable, with a time",
      );
    },
  },
  {
    name:
      "a held claim is extended beyond its lease, and its signal aborts when another caller takes it over",
    async run({ store, wait, clock }) {
      const idempotency = createIdempotency(store, { clock, lease: 400 });
      const begun = await idempotency.begin("key");
      check(begun.state === "new", "the first is new");
      const hold = idempotency.hold(begun.claim);
      for (let i = 0; i < 8; i++) await wait(60);
      equal((await idempotency.begin("key")).state, "in-progress", "still held after its lease");
      check(!hold.signal.aborted, "nothing happened yet");
      await store.namespace("idempotency").delete("key");
      await idempotency.begin("key", { lease: 10_000 });
      for (let i = 0; i < 8 && !hold.signal.aborted; i++) await wait(60);
      check(hold.signal.aborted, "the holder was told");
      const { reason } = hold.signal;
      check(reason instanceof HoldfastError && reason.code === "claim-lost", "the reason is claim-lost");
      hold.stop();
    },
  },
  {
    name: "a record of another program is a typed error, never replaced",
    async run({ store, clock }) {
      const idempotency = createIdempotency(store, { clock });
      const claim = {
        key: "key",
        owner: "me",
        id: "1",
        attempt: 1,
        fingerprint: "",
        lease: 1000,
        retention: 1000,
      };
      const records = store.namespace("idempotency");
      await records.set("key", "another program's");
      const calls: (() => Promise<unknown>)[] = [
        () => idempotency.begin("key"),
        () => idempotency.complete(claim, 1),
        () => idempotency.abandon(claim),
        () => idempotency.extend(claim),
        () => idempotency.get("key"),
        () => idempotency.run("key", () => 1),
      ];
      for (const call of calls) {
        const error = await rejection(call, "a corrupt record");
        check(
          error instanceof HoldfastError && error.code === "corrupt-record",
          "its code is corrupt-record",
        );
      }
      equal(await records.get("key"), "another program's", "it is still there");
    },
  },
  {
    name: "bad input is refused before any I/O",
    async run({ store, clock }) {
      const idempotency = createIdempotency(store, { clock });
      for (const options of [{ lease: 0 }, { lease: NaN }, { retention: -1 }, { wait: Infinity }]) {
        const error = await rejection(() => idempotency.begin("key", options), "a bad duration");
        check(error instanceof RangeError, "it is a RangeError");
      }
      for (const call of [() => idempotency.begin(""), () => idempotency.begin("key", { owner: "" })]) {
        check(await rejection(call, "a bad name") instanceof TypeError, "it is a TypeError");
      }
      equal(await idempotency.get("key"), undefined, "nothing was claimed");
    },
  },
  {
    name: "a call whose signal is aborted rejects with the signal's reason and changes nothing",
    async run({ store, clock }) {
      const idempotency = createIdempotency(store, { clock });
      const reason = new Error("enough");
      const signal = AbortSignal.abort(reason);
      const begun = await idempotency.begin("key");
      check(begun.state === "new", "the claim");
      const calls: Record<string, () => Promise<unknown>> = {
        begin: () => idempotency.begin("other", { signal }),
        run: () => idempotency.run("other", () => 1, { signal }),
        complete: () => idempotency.complete(begun.claim, 1, { signal }),
        abandon: () => idempotency.abandon(begun.claim, { signal }),
        extend: () => idempotency.extend(begun.claim, { signal }),
        get: () => idempotency.get("key", { signal }),
      };
      for (const [name, call] of Object.entries(calls)) {
        check(await rejection(call, name) === reason, `${name} rejects with the reason`);
      }
      equal(await idempotency.get("key"), { state: "in-progress", attempt: 1 }, "as it was");
      equal(await idempotency.get("other"), undefined, "nothing was claimed");
    },
  },
  ...idempotencyRepetitionLaw,
  {
    name: "run() gives its first caller the stored value, as it gives it to later ones",
    async run({ store, clock }) {
      const idempotency = createIdempotency(store, { clock });
      const at = new Date(1_700_000_000_000);
      const work = () => ({ at, missing: undefined, list: [1, "a", null] });
      const first = await idempotency.run("key", work);
      const second = await idempotency.run("key", work);
      equal(typeof first.at, typeof second.at, "both have the stored form of the date");
      check(!(first.at instanceof Date), "it is no longer a Date");
      equal(first, second, "first and second");
      equal(Object.keys(first), Object.keys(second), "their members");
    },
  },
  {
    name: "a storeIf that throws keeps the result, and is reported",
    async run({ store, clock }) {
      const faults: unknown[] = [];
      const idempotency = createIdempotency(store, { clock, onFault: (error) => faults.push(error) });
      const thrown = new Error("a mistake");
      const storeIf = () => {
        throw thrown;
      };
      let runs = 0;
      for (let i = 0; i < 2; i++) {
        equal(await idempotency.run("key", () => ++runs, { storeIf }), 1, "the result");
      }
      equal([runs, faults.length], [1, 1], "runs and reports");
      check(faults[0] === thrown, "the error of storeIf");
    },
  },
  {
    name: "a claim ends at maxHold, and its signal aborts before another caller may begin",
    async run({ store, wait, clock }) {
      const idempotency = createIdempotency(store, { clock, lease: 600, maxHold: 2400 });
      const begun = await idempotency.begin("key");
      check(begun.state === "new", "the claim");
      const hold = idempotency.hold(begun.claim);
      const { signal } = hold;
      for (let i = 0; i < 10; i++) await wait(100);
      equal((await idempotency.begin("key")).state, "in-progress", "after its lease");
      for (let i = 0; i < 15; i++) await wait(100);
      check(signal.aborted, "the holder was told");
      equal((await idempotency.begin("key")).state, "new", "after maxHold");
    },
  },
  {
    name: "after its caller's abort a claim is no longer extended, and ends with its lease",
    async run({ store, wait, clock }) {
      const idempotency = createIdempotency(store, { clock, lease: 400 });
      const begun = await idempotency.begin("key");
      check(begun.state === "new", "the claim");
      const controller = new AbortController();
      const reason = new Error("enough");
      const { signal } = idempotency.hold(begun.claim, { signal: controller.signal });
      await wait(200);
      controller.abort(reason);
      check(
        signal.aborted && signal.reason === reason,
        "the holder's signal aborts with the caller's reason",
      );
      for (let i = 0; i < 5; i++) await wait(100);
      equal((await idempotency.begin("key")).state, "new", "after its lease");
    },
  },
  {
    name: "unknown options are refused before any I/O",
    async run({ store, clock }) {
      const idempotency = createIdempotency(store, { clock });
      const claim = {
        key: "key",
        owner: "me",
        id: "1",
        attempt: 1,
        fingerprint: "",
        lease: 1000,
        retention: 1000,
      };
      const typo: object = { singal: undefined };
      const calls: (() => unknown)[] = [
        () => createIdempotency(store, { leese: "1s" } as object),
        () => idempotency.begin("key", typo),
        () => idempotency.complete(claim, 1, typo),
        () => idempotency.abandon(claim, typo),
        () => idempotency.extend(claim, typo),
        () => idempotency.hold(claim, typo),
        () => idempotency.get("key", typo),
        () => idempotency.run("key", () => 1, typo),
      ];
      for (const call of calls) {
        const error = await rejection(async () => await call(), "an unknown option");
        check(error instanceof TypeError, "it is a TypeError");
      }
      equal(await idempotency.get("key"), undefined, "nothing was claimed");
    },
  },
];
