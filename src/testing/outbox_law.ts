import { deferred } from "../deferred.ts";
import { HoldfastError } from "../errors.ts";
import { createOutbox } from "../outbox/create_outbox.ts";
import type { Outbox, OutboxOptions, OutboxReport } from "../outbox/outbox.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { check, equal, rejection } from "./_check.ts";
import { drained, entriesOf } from "./_outboxes.ts";
import { mortal } from "./_scripted_mailer.ts";
import type { Law, StoreSubject } from "./law.ts";

/** The items that the laws queue. */
interface Event {
  readonly number: number;
  readonly text?: string;
}

type Handle = OutboxOptions<Event>["handle"];

/**
 * The laws of a general outbox, on every engine.
 *
 * @category Laws
 */
export const outboxLaw: readonly Law<StoreSubject<AtomicStore>>[] = [
  {
    name:
      "an item is delivered once, as it was queued, from any process, with its key and the number of the attempt",
    async run({ store, clock }) {
      const seen: unknown[] = [];
      const { id, state } = await box(store, () => {}, { clock }).add({ number: 1, text: "ü 😀" }, {
        key: "one",
      });
      equal(state, "queued", "state");
      const other = box(store, (item, { id, key, attempt }) => void seen.push([item, id, key, attempt]), {
        clock,
      });
      equal(await other.read(id), { number: 1, text: "ü 😀" }, "what is read");
      equal(await other.drain(), report({ done: 1 }), "the report");
      equal(seen, [[{ number: 1, text: "ü 😀" }, id, "one", 1]], "delivered");
      equal([await other.drain(), await other.read(id)], [report({}), undefined], "what is left");
    },
  },
  {
    name:
      "the same key is queued and delivered once, also at once and afterwards; another item under it is refused",
    async run({ store, clock }) {
      let count = 0;
      const events = box(store, () => void count++, { clock });
      const add = (number: number) => events.add({ number }, { key: "order-17" });
      const added = await Promise.all(Array.from({ length: 10 }, () => add(1)));
      equal(new Set(added.map(({ id, state }) => `${id} ${state}`)).size, 1, "answers");
      await events.drain();
      equal([(await add(1)).state, (await events.drain()).done, count], ["done", 0, 1], "afterwards");
      const error = await rejection(() => add(2), "another item");
      check(
        error instanceof HoldfastError && error.code === "fingerprint-mismatch",
        `another item: ${error}`,
      );
    },
  },
  {
    name: "two outboxes on one store share nothing, and neither do one of mail and one of anything else",
    async run({ store, clock }) {
      const seen: string[] = [];
      const named = (name: string) => box(store, () => void seen.push(name), { clock, name });
      for (const name of ["a", "b", "a:b"]) await named(name).add({ number: 1 }, { key: "same" });
      for (const name of ["a", "b", "a:b", "a"]) await named(name).drain();
      equal(seen, ["a", "b", "a:b"], "delivered");
    },
  },
  {
    name: "of several drainers at once each item is delivered by one",
    async run({ store, clock }) {
      const seen: number[] = [];
      const handle: Handle = ({ number }) => void seen.push(number);
      const numbers = Array.from({ length: 40 }, (_, number) => number);
      await Promise.all(numbers.map((number) => box(store, handle, { clock, buckets: 4 }).add({ number })));
      const reports = await Promise.all(
        Array.from({ length: 4 }, () => box(store, handle, { clock, buckets: 4 }).drain()),
      );
      equal(reports.reduce((sum, { done }) => sum + done, 0), 40, "done");
      equal(seen.sort((a, b) => a - b), numbers, "delivered");
    },
  },
  {
    name:
      "drain() delivers as many items at once as concurrency says, and no more, whatever bucket they are in",
    async run({ store, clock }) {
      const seen: number[] = [];
      const open = deferred<void>();
      let running = 0;
      let most = 0;
      const events = box(store, async ({ number }) => {
        seen.push(number);
        most = Math.max(most, ++running);
        if (running === 3) open.resolve();
        // Those that come first wait for the third, ten seconds at most.
        let timer: ReturnType<typeof setTimeout>;
        await Promise.race([open.promise, new Promise((resolve) => timer = setTimeout(resolve, 10_000))]);
        clearTimeout(timer!);
        running--;
      }, { clock, buckets: 1 });
      for (let number = 0; number < 7; number++) await events.add({ number });
      equal(await events.drain({ concurrency: 3 }), report({ done: 7 }), "the report");
      equal([most, new Set(seen).size, seen.length], [3, 7, 7], "at once, and delivered");
    },
  },
  {
    name: "an error is reported and retried until the last attempt, unless retryIf refuses",
    async run({ store, clock, wait }) {
      const faults: unknown[] = [];
      const keys: unknown[] = [];
      const events = box(store, (_item, { key, attempt }) => {
        keys.push([key, attempt]);
        throw new Error(`attempt ${attempt}`);
      }, {
        clock,
        delay: 1,
        attempts: 3,
        onFault: (error, context) => void faults.push([(error as Error).message, context.attempt]),
      });
      const { id } = await events.add({ number: 1 }, { key: "one" });
      equal(await drained(events, report({}), wait), report({ retried: 2, dead: 1 }), "the report");
      equal(keys, [["one", 1], ["one", 2], ["one", 3]], "attempts");
      equal(faults, [["attempt 1", 1], ["attempt 2", 2], ["attempt 3", 3]], "faults");
      const [entry] = await entriesOf(events, "dead");
      equal([entry?.id, entry?.attempts, entry?.code], [id, 3, "failed"], "the entry");
      const final = box(store, () => {
        throw new TypeError("never");
      }, { clock, name: "final", retryIf: (error) => !(error instanceof TypeError) });
      await final.add({ number: 2 });
      equal(await drained(final, report({}), wait), report({ dead: 1 }), "with retryIf");
    },
  },
  {
    name: "a dead item is delivered when it is requeued; a discarded one frees its key",
    async run({ store, clock }) {
      let broken = true;
      const events = box(store, () => {
        if (broken) throw new Error("broken");
      }, { clock, attempts: 1 });
      const { id } = await events.add({ number: 1 }, { key: "one" });
      await events.drain();
      broken = false;
      equal([await events.requeue(id), await events.requeue(id)], [true, false], "requeue");
      equal(await events.drain(), report({ done: 1 }), "afterwards");
      const other = await events.add({ number: 2 }, { key: "two" });
      equal([await events.discard(other.id), await events.discard(other.id)], [true, false], "discard");
      equal([await events.drain(), await entriesOf(events)], [report({}), []], "what is left");
      equal((await events.add({ number: 3 }, { key: "two" })).state, "queued", "the key again");
    },
  },
  {
    name:
      "an item that a killed process had begun is delivered again under its key; with whenUnknown: hold it is in doubt",
    async run({ store, clock, wait }) {
      for (const whenUnknown of ["again", "hold"] as const) {
        const options = { clock, lease: 150, name: whenUnknown, whenUnknown };
        const keys: string[] = [];
        const events = box(store, (_item, { key }) => void keys.push(key), options);
        await events.add({ number: 1 }, { key: "one" });
        const begun = deferred<void>();
        const victim = mortal(store);
        const dying = box(victim.store, (_item, { key }) => {
          keys.push(key);
          begun.resolve();
          return new Promise<void>(() => {});
        }, options);
        dying.drain().catch(() => {});
        await begun.promise;
        victim.kill();
        equal((await events.drain()).done, 0, "before the lease has ended");
        await wait(200);
        const again = whenUnknown === "again";
        equal(await events.drain(), report(again ? { done: 1, repeated: 1 } : { inDoubt: 1 }), whenUnknown);
        equal(keys, again ? ["one", "one"] : ["one"], "keys");
      }
    },
  },
  {
    name: "an item is not delivered before its delay, and the report says when it is due",
    async run({ store, clock, wait }) {
      const events = box(store, () => {}, { clock });
      await events.add({ number: 1 }, { delay: 400 });
      const early = await events.drain();
      equal(early.done, 0, "early");
      check(early.nextAfter! > 0 && early.nextAfter! <= 600, `next after ${early.nextAfter}`);
      await wait(early.nextAfter! + 20);
      equal((await events.drain()).done, 1, "in time");
    },
  },
  {
    name: "an item that the engine or JSON cannot hold is refused before anything is queued",
    async run({ store, clock }) {
      const events = box(store, () => {}, { clock });
      for (const item of [undefined, () => {}, new Map(), { number: NaN }]) {
        check(await rejection(() => events.add(item as never), "no JSON") instanceof TypeError, "no JSON");
      }
      const most = store.limits.maxValueLength;
      if (most < 2_100_000) { // the laws should not need more memory
        const error = await rejection(() => events.add({ number: 1, text: "x".repeat(most) }), "too large");
        check(error instanceof HoldfastError && error.code === "value-too-large", `too large: ${error}`);
      }
      equal(await entriesOf(events), [], "queued");
    },
  },
];

/** An outbox of events with a name of its own unless the options give one. */
function box(store: AtomicStore, handle: Handle, options: Partial<OutboxOptions<Event>>): Outbox<Event> {
  return createOutbox<Event>(store, { name: "events", handle, ...options });
}

function report(counts: Partial<OutboxReport>): OutboxReport {
  return {
    done: 0,
    repeated: 0,
    retried: 0,
    dead: 0,
    inDoubt: 0,
    expired: 0,
    nextAfter: undefined,
    ...counts,
  };
}
