import type { Cache, CacheOptions, FillLifetime } from "../cache/cache.ts";
import { createCache } from "../cache/create_cache.ts";
import { deferred } from "../deferred.ts";
import { HoldfastError } from "../errors.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { observedStore } from "../store/observed_store.ts";
import { check, equal, eventually, rejection, until } from "./_check.ts";
import { type Law, LawError, type StoreSubject } from "./law.ts";

/** Caches of several isolates: each has a memory of its own, and the store in common. */
function isolates(
  { store, clock }: StoreSubject<AtomicStore>,
  count: number,
  options: Partial<CacheOptions> = {},
): Cache[] {
  return Array.from(
    { length: count },
    () => createCache(store, { name: "cache", timeout: "30s", clock, ...options }),
  );
}

/** A fill that waits until the law lets it answer, and counts its calls. */
function origin<T>(answers: readonly T[]) {
  const gates = answers.map(() => deferred<void>());
  const begun = answers.map(() => deferred<void>());
  let calls = 0;
  return {
    /** Asks the origin. */
    fill: async () => {
      const call = calls++;
      begun[call]?.resolve();
      await gates[call]?.promise;
      return answers[Math.min(call, answers.length - 1)]!;
    },
    /** Resolves when the call has begun. */
    begun: (call: number) => begun[call]!.promise,
    /** Lets the call answer. */
    answer: (call: number) => gates[call]!.resolve(),
    get calls() {
      return calls;
    },
  };
}

/** A store whose calls fail while `down` is set. */
function breakable(store: AtomicStore): { store: AtomicStore; down: boolean; deletions: number } {
  const state = { down: false, deletions: 0, store };
  const wrap = (inner: AtomicStore): AtomicStore =>
    new Proxy(inner, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name);
        if (name === "namespace") return (room: string) => wrap(target.namespace(room));
        if (typeof member !== "function") return member;
        return (...args: unknown[]) => {
          if (String(name).startsWith("delete")) state.deletions++;
          if (!state.down) return Reflect.apply(member, target, args);
          return Promise.reject(
            new HoldfastError("backend-unavailable", "Cannot use the store as it is down"),
          );
        };
      },
    });
  state.store = wrap(store);
  return state;
}

const HOUR = { ttl: "1h" } as const;

/**
 * The promises of a cache on every atomic store.
 *
 * @category Laws
 */
export const cacheLaw: readonly Law<StoreSubject<AtomicStore>>[] = [
  {
    name: "a fill begun before an acknowledged invalidation is never answered to a call that begins after it",
    async run(subject) {
      for (const own of [true, false]) {
        const [one, two] = isolates(subject, 2);
        const key = `key ${own}`;
        const slow = origin(["old", "new"]);
        const first = one!.get(key, slow.fill, HOUR);
        await slow.begun(0);
        await (own ? one : two)!.invalidate(key);
        const second = two!.get(key, slow.fill, HOUR);
        await slow.begun(1);
        slow.answer(0);
        equal(await first, "old", "a call that began before may answer what it began with");
        const third = one!.get(key, slow.fill, HOUR);
        slow.answer(1);
        const waiting = settled(Promise.all([second, third]));
        await until(() => waiting.done, subject.wait, 60_000, "the calls end");
        equal([await second, await third], ["new", "new"], "calls that began after");
        equal(await one!.get(key, () => "another", HOUR), "new", "what is kept");
      }
    },
  },
  {
    name: "a fill begun before an acknowledged set is never answered to a call that begins after it",
    async run(subject) {
      const [one, two] = isolates(subject, 2);
      const slow = origin(["old"]);
      const first = one!.get("key", slow.fill, HOUR);
      await slow.begun(0);
      await two!.set("key", "new", HOUR);
      slow.answer(0);
      await first;
      equal(await one!.get("key", () => "another", HOUR), "new", "the value that was set");
    },
  },
  {
    name: "a fill begun before an acknowledged invalidation of one of its tags is never answered after it",
    async run(subject) {
      const [one, two] = isolates(subject, 2);
      const options = { ttl: "1h", tags: ["prices", "ropes"] } as const;
      const slow = origin(["old", "new"]);
      const first = one!.get("key", slow.fill, options);
      await slow.begun(0);
      await two!.invalidateTags(["ropes"]);
      slow.answer(0);
      await first;
      slow.answer(1);
      equal(await one!.get("key", slow.fill, options), "new", "after the invalidation");
      await two!.invalidateTags(["prices", "unrelated"]);
      equal(await two!.get("key", () => "newer", options), "newer", "after another tag");
      await two!.invalidateTags(["unrelated"]);
      equal(await two!.get("key", () => "newest", options), "newer", "a tag that it has not");
      equal((await one!.peek("key"))?.value, "newer", "a look sees it");
      await one!.invalidateTags(["ropes"]);
      equal(await two!.peek("key"), undefined, "a look sees the invalidation too");
    },
  },
  {
    name: "of all callers in all isolates one fills a key at a time, and the others get its value",
    async run(subject) {
      const caches = isolates(subject, 4);
      const slow = origin(["value"]);
      const calls = Array.from({ length: 40 }, (_, i) => caches[i % 4]!.get("key", slow.fill, HOUR));
      await slow.begun(0);
      slow.answer(0);
      const waiting = settled(Promise.all(calls));
      await until(() => waiting.done, subject.wait, 60_000, "the calls end");
      equal(new Set(await Promise.all(calls)).size, 1, "values");
      equal(slow.calls, 1, "calls of the origin");
    },
  },
  {
    name: "a fill that takes longer than its lease keeps the key",
    async run(subject) {
      const [one, two] = isolates(subject, 2, { lease: 400 });
      const slow = origin(["value", "second"]);
      const first = one!.get("key", slow.fill, HOUR);
      await slow.begun(0);
      const second = two!.get("key", slow.fill, HOUR);
      for (let i = 0; i < 20; i++) await subject.wait(50);
      equal(slow.calls, 1, "calls while it is extended");
      slow.answer(0);
      const waiting = settled(Promise.all([first, second]));
      await until(() => waiting.done, subject.wait, 60_000, "the calls end");
      equal([await first, await second], ["value", "value"], "the value of the one fill");
    },
  },
  {
    name: "a filler that died costs at most its lease",
    async run(subject) {
      const { store, wait } = subject;
      const [one] = isolates(subject, 1, { lease: 300 });
      // The record of a filler that never comes back.
      const { readCache } = await import("../cache/cache_transitions.ts");
      await store.namespace("cache").transact(readCache, "key", { schema: "", filler: "dead", lease: "300" });
      const call = one!.get("key", () => "value", HOUR);
      const waiting = settled(call);
      await wait(100);
      check(!waiting.done, "the lease is the other filler's");
      for (let i = 0; i < 40 && !waiting.done; i++) await wait(50);
      check(waiting.done, "the lease is over");
      equal(await call, "value", "the next filler's value");
    },
  },
  {
    name: "a failing origin is asked once per round, and every waiter of the isolate gets its error",
    async run(subject) {
      const [one] = isolates(subject, 1);
      const gate = deferred<void>();
      let calls = 0;
      const broken = new RangeError("the origin's own");
      const fill = async (): Promise<string> => {
        calls++;
        await gate.promise;
        throw broken;
      };
      const waiters = Array.from({ length: 20 }, () => one!.get("key", fill, HOUR).catch((error) => error));
      await subject.wait(50);
      gate.resolve();
      const waiting = settled(Promise.all(waiters));
      for (let i = 0; i < 100 && !waiting.done; i++) await subject.wait(20);
      const errors = await Promise.all(waiters);
      check(errors.every((error) => error === broken), "the error itself");
      equal(calls, 1, "calls of the origin");
      equal(await one!.get("key", () => "well again", HOUR), "well again", "the next round");
    },
  },
  {
    name: "get() rejects with the very value that the origin throws, also `undefined` or a string",
    async run(subject) {
      const [one] = isolates(subject, 1);
      for (const thrown of [undefined, "a text"]) {
        const error = await rejection(
          () => one!.get("key", () => Promise.reject(thrown), HOUR),
          "a rejection",
        );
        equal(error, thrown, "what was thrown");
      }
    },
  },
  {
    name: "invalidate leaves nothing to answer, grace included; expire leaves a stale value",
    async run(subject) {
      const [one] = isolates(subject, 1);
      const options = { ttl: "1h", stale: "1h", grace: "2h" } as const;
      const fails = () => Promise.reject(new RangeError("down"));
      await one!.set("key", "value", options);
      equal(await one!.expire("key"), true, "there was a value");
      equal((await one!.peek("key"))?.state, "stale", "after expire");
      equal(await one!.get("key", fails, options), "value", "an origin that fails is hidden by grace");
      await one!.invalidate("key");
      equal(await one!.peek("key"), undefined, "after invalidate");
      const error = await rejection(() => one!.get("key", fails, options), "nothing to hide behind");
      check(error instanceof RangeError, "the origin's error");
      equal(await one!.expire("key"), false, "nothing to expire");
    },
  },
  {
    name: "expire ends the ttl: without stale or grace nothing is answered after it; these count from then",
    async run(subject) {
      const [one, two] = isolates(subject, 2);
      const fails = () => Promise.reject(new RangeError("down"));
      await one!.set("key", "old", HOUR);
      equal(await one!.expire("key"), true, "there was a value");
      equal(await two!.peek("key"), undefined, "a look after it");
      const error = await rejection(() => two!.get("key", fails, HOUR), "an origin that fails");
      check(error instanceof RangeError, "the origin's error");
      await one!.set("key", "old", HOUR);
      await two!.expire("key");
      const slow = origin(["new"]);
      const refill = one!.get("key", slow.fill, HOUR);
      await slow.begun(0);
      const meanwhile = two!.resolve("key", slow.fill, HOUR);
      slow.answer(0);
      const waiting = settled(Promise.all([refill, meanwhile]));
      await until(() => waiting.done, subject.wait, 60_000, "the calls end");
      equal([await refill, (await meanwhile).value], ["new", "new"], "a call while it is refilled");
      await one!.set("brief", "old", { ttl: "1h", stale: 50, grace: 100 });
      await one!.expire("brief");
      await subject.wait(150);
      equal(await one!.expire("brief"), false, "past stale and grace");
      equal(await two!.peek("brief"), undefined, "a look past stale and grace");
    },
  },
  {
    name: "grace answers an expired value where the origin fails or takes too long, never past its end",
    async run(subject) {
      const faults: unknown[] = [];
      const [one] = isolates(subject, 1, { onFault: (error) => faults.push(error) });
      const options = { ttl: 100, grace: 400 } as const;
      const fails = () => Promise.reject(new RangeError("down"));
      await one!.set("key", "value", options);
      await subject.wait(150);
      equal(await one!.get("key", fails, options), "value", "within grace");
      equal(faults.length, 1, "the hidden failure is reported");
      const never = () => new Promise<string>(() => {});
      equal(
        await one!.get("key", never, { ...options, fillTimeout: 30 }),
        "value",
        "an origin that is too slow",
      );
      await subject.wait(400);
      const error = await rejection(() => one!.get("key", fails, options), "past the end");
      check(error instanceof RangeError, "the origin's error");
    },
  },
  {
    name:
      "a stale value is answered at once while it is refilled under waitUntil; without one the caller waits",
    async run(subject) {
      const [one] = isolates(subject, 1);
      const options = { ttl: 100, stale: 60_000 } as const;
      await one!.set("key", "old", options);
      await subject.wait(150);
      const work: Promise<unknown>[] = [];
      const waitUntil = (promise: Promise<unknown>) => void work.push(promise);
      const slow = origin(["new"]);
      equal(await one!.get("key", slow.fill, { ...options, waitUntil }), "old", "meanwhile");
      check(work.length > 0, "the refill was handed to waitUntil");
      equal(await one!.get("key", slow.fill, { ...options, waitUntil }), "old", "no second refill");
      slow.answer(0);
      await Promise.all(work);
      equal([await one!.get("key", () => "another", options), slow.calls], ["new", 1], "after the refill");
      await subject.wait(150);
      equal(await one!.get("key", () => "newest", options), "newest", "without waitUntil");
    },
  },
  {
    name: "absent, null and not cached are three states, and an absence is cached only with the option",
    async run(subject) {
      const [one, two] = isolates(subject, 2);
      let calls = 0;
      const nothing = (): string | undefined => {
        calls++;
        return undefined;
      };
      equal(await one!.get("a", nothing, HOUR), undefined, "absent");
      equal(await one!.get("a", nothing, HOUR), undefined, "again");
      equal([calls, await one!.peek("a")], [2, undefined], "not kept");
      equal(await one!.get("a", nothing, { ttl: "1h", absent: "1m" }), undefined, "absent");
      equal(await two!.get("a", nothing, HOUR), undefined, "kept");
      equal([calls, (await one!.peek("a"))?.state], [3, "absent"], "kept");
      equal(await one!.get("n", () => null, HOUR), null, "null");
      equal((await two!.peek("n"))?.state, "fresh", "null is a value");
      equal(
        await two!.get("n", (): null => {
          throw new LawError("no fill");
        }, HOUR),
        null,
        "null is kept",
      );
      check(await rejection(() => one!.set("u", undefined, HOUR), "undefined") instanceof TypeError, "set");
    },
  },
  {
    name: "every caller gets the value as it is stored, the first caller too",
    async run(subject) {
      const [one] = isolates(subject, 1);
      const when = new Date(0);
      const fill = (): unknown => ({ when });
      equal(
        typeof (await one!.get<{ when: unknown }>("key", fill as () => { when: unknown }, HOUR)).when,
        "string",
        "first",
      );
      equal(
        typeof (await one!.get<{ when: unknown }>("key", fill as () => { when: unknown }, HOUR)).when,
        "string",
        "second",
      );
    },
  },
  {
    name: "while the store is down the origin is asked, the fault is reported, and nothing is deleted",
    async run(subject) {
      const broken = breakable(subject.store);
      const faults: unknown[] = [];
      const cache = createCache(broken.store, {
        name: "cache",
        clock: subject.clock,
        onFault: (error) => faults.push(error),
      });
      const strict = createCache(broken.store, {
        name: "cache",
        clock: subject.clock,
        whenUnavailable: "throw",
      });
      await cache.set("key", "cached", HOUR);
      broken.down = true;
      equal(await cache.get("key", () => "origin's", HOUR), "origin's", "the origin");
      check(faults.length > 0, "reported");
      check(
        await rejection(() => strict.get("key", () => "x", HOUR), "throw") instanceof HoldfastError,
        "throw",
      );
      const error = await rejection(() => cache.invalidate("key"), "an invalidation that was not done");
      check(error instanceof HoldfastError, "a fault");
      broken.down = false;
      equal(await cache.get("key", () => "another", HOUR), "cached", "it is still there");
    },
  },
  {
    name:
      "while the store is down one call asks at a time, and none takes an answer that was asked for before it began",
    async run(subject) {
      const broken = breakable(subject.store);
      const cache = createCache(broken.store, { name: "cache", clock: subject.clock });
      broken.down = true;
      const slow = origin(["old", "new"]);
      const ask = () => eventually(cache.get("key", slow.fill, HOUR), subject.wait, 20_000);
      const first = ask();
      await slow.begun(0);
      const later = [ask(), ask(), ask()];
      await subject.wait(50);
      slow.answer(0);
      equal(await first, "old", "the first call");
      await slow.begun(1);
      slow.answer(1);
      equal([await Promise.all(later), slow.calls], [["new", "new", "new"], 2], "the calls that began later");
    },
  },
  {
    name: "the near tier is stale for at most its ttl, and shows changes of its own process at once",
    async run(subject) {
      const [one, two] = isolates(subject, 2, { near: { ttl: 200 } });
      await one!.set("key", 1, HOUR);
      equal(await one!.get("key", () => 0, HOUR), 1, "read");
      await two!.set("key", 2, HOUR);
      await subject.wait(250);
      equal(await one!.get("key", () => 0, HOUR), 2, "after near.ttl");
      await one!.set("key", 3, HOUR);
      equal(await one!.get("key", () => 0, HOUR), 3, "its own change");
      await one!.invalidate("key");
      equal(await one!.get("key", () => 4, HOUR), 4, "its own invalidation");
      const tagged = { ttl: "1h", tags: ["t"] } as const;
      equal(await one!.get("tagged", () => 5, tagged), 5, "with a tag");
      await one!.invalidateTags(["t"]);
      equal(await one!.get("tagged", () => 6, tagged), 6, "its own tag");
    },
  },
  {
    name: "another version, another set of tags or a value of another form is refilled",
    async run(subject) {
      const [one] = isolates(subject, 1);
      await one!.set("key", "text", HOUR);
      equal(await one!.get("key", () => "v2", { ttl: "1h", version: "2" }), "v2", "version");
      equal(
        await one!.get("key", () => "tagged", { ttl: "1h", version: "2", tags: ["a"] }),
        "tagged",
        "tags",
      );
      const digits = {
        "~standard": {
          validate: (value: unknown) =>
            typeof value === "number" ? { value } : { issues: [{ message: "no number" }] },
        },
      };
      equal(
        await one!.get("key", () => 7, { ttl: "1h", version: "2", tags: ["a"], schema: digits }),
        7,
        "form",
      );
      const error = await rejection(
        () => one!.get("other", () => "text" as unknown as number, { ttl: "1h", schema: digits }),
        "an origin of another form",
      );
      check(error instanceof HoldfastError && error.code === "schema-mismatch", "schema-mismatch");
    },
  },
  {
    name: "a fill sees the value that it replaces, and says how long its own is kept",
    async run(subject) {
      const [one] = isolates(subject, 1);
      const seen: unknown[] = [];
      const options = { ttl: "1h", grace: "1h" } as const;
      const get = (value: string, kept: FillLifetime | false) =>
        one!.get<string>("key", ({ previous, keep }) => {
          seen.push(previous);
          keep(kept);
          return value;
        }, options);
      equal(await get("a", { ttl: 0, grace: "1h" }), "a", "the first");
      equal((await one!.peek("key"))?.state, "stale", "kept, but never fresh");
      equal(await get("b", { ttl: "1h" }), "b", "the second");
      equal(await get("c", false), "b", "fresh for the hour that its fill said");
      await one!.invalidate("key");
      equal(await get("d", false), "d", "not kept");
      equal(await get("e", { ttl: 0, stale: 0, grace: 0 }), "e", "kept for no time");
      equal(seen, [undefined, "a", undefined, undefined], "what each fill replaces");
      equal(await one!.peek("key"), undefined, "nothing is kept");
    },
  },
  {
    name: "refresh() asks the origin although a value is fresh, once for all concurrent callers",
    async run(subject) {
      let answers = 0;
      const watched = observedStore(subject.store, { onOperation: () => void answers++ });
      const caches = [...isolates(subject, 1), ...isolates({ ...subject, store: watched }, 1)];
      await caches[0]!.set("key", "old", HOUR);
      await subject.wait(50);
      const slow = origin(["new"]);
      const again = { ttl: "1h", refresh: true } as const;
      const first = caches[0]!.get("key", slow.fill, again);
      await slow.begun(0);
      equal(await caches[1]!.get("key", slow.fill, HOUR), "old", "meanwhile");
      const asked = answers;
      const second = caches[1]!.get("key", slow.fill, again);
      // A slow engine has not seen the second refresh yet; from its answer on, it waits for the first.
      await until(() => answers > asked, subject.wait, 10_000, "the second refresh reaches the store");
      slow.answer(0);
      const waiting = settled(Promise.all([first, second]));
      await until(() => waiting.done, subject.wait, 60_000, "the calls end");
      equal([await first, await second, slow.calls], ["new", "new", 1], "one refill");
      equal(await caches[1]!.get("key", slow.fill, HOUR), "new", "kept");
    },
  },
  {
    name: "resolve() answers the source of a value, its age and how long it stays fresh",
    async run(subject) {
      const [one] = isolates(subject, 1);
      const options = { ttl: 60_000, grace: "1h" } as const;
      const filled = await one!.resolve("key", () => "value", options);
      equal(
        [filled.state, filled.value, filled.age, filled.remaining],
        ["filled", "value", 0, 60_000],
        "a fill",
      );
      await subject.wait(50);
      const hit = await one!.resolve("key", () => "another", options);
      equal([hit.state, hit.value, hit.waited], ["hit", "value", false], "a hit");
      check(hit.age > 0 && hit.remaining < 60_000 && hit.age + hit.remaining === 60_000, "its times");
      await one!.expire("key");
      const broken = new RangeError("down");
      const grace = await one!.resolve("key", () => Promise.reject(broken), options);
      equal([grace.state, grace.value, grace.error], ["grace", "value", broken], "an origin that failed");
    },
  },
  {
    name: "early refresh refills before the end, by one caller at a time",
    async run(subject) {
      const [one, two] = isolates(subject, 2);
      const far = { ttl: "1h", early: 100 } as const;
      let [calls, running, most] = [0, 0, 0];
      const slow = async () => {
        calls++;
        most = Math.max(most, ++running);
        await subject.wait(20);
        running--;
        return calls;
      };
      await one!.get("key", slow, HOUR);
      // With a fill of milliseconds an hour before its end, no early refresh comes.
      for (let i = 0; i < 10; i++) await two!.get("key", slow, far);
      equal(calls, 1, "far from the end");
      // Two seconds before its end about every third call refills: of two hundred, one surely does.
      const near = { ttl: "2s", early: 100 } as const;
      await one!.get("near", slow, near);
      for (let i = 0; i < 100 && calls === 2; i++) {
        await Promise.all([one!, two!].map((cache) => cache.get("near", slow, near)));
      }
      check(calls > 2, "a refill before the end");
      equal(most, 1, "one at a time");
      await one!.set("soon", "old", { ttl: "1m" });
      equal(await two!.get("soon", () => "new", { ttl: "1m", early: 100 }), "old", "what took no time");
    },
  },
  {
    name: "several keys are filled by one call of the origin, in order, and each is kept",
    async run(subject) {
      const [one, two] = isolates(subject, 2);
      await one!.set("b", "kept", HOUR);
      const asked: string[][] = [];
      const fill = (keys: readonly string[]) => {
        asked.push([...keys]);
        return keys.map((key) => key.toUpperCase());
      };
      equal(await one!.getMany(["a", "b", "c"], fill, HOUR), ["A", "kept", "C"], "values in order");
      equal(asked, [["a", "c"]], "one call");
      equal(await two!.getMany(["c", "b", "a"], fill, HOUR), ["C", "kept", "A"], "all kept");
      equal([asked.length, await one!.getMany([], fill, HOUR)], [1, []], "nothing to ask");
      const short = () => ["only one"];
      const error = await rejection(() => one!.getMany(["x", "y"], short, HOUR), "too few values");
      check(error instanceof TypeError, "a TypeError");
      // A key that is being filled elsewhere is asked for alone, should that fill fail.
      const broken = origin(["never"]);
      const elsewhere = one!.get("z", () => broken.fill().then(() => Promise.reject(new RangeError())), HOUR);
      await broken.begun(0);
      const alone = rejection(() => two!.getMany(["z"], () => [], HOUR), "no value");
      await subject.wait(50);
      broken.answer(0);
      await rejection(() => elsewhere, "a failed fill");
      check(await eventually(alone, subject.wait) instanceof TypeError, "a TypeError for a key alone");
    },
  },
  {
    name:
      "a value that is too large for the engine is answered and reported, and the next caller fills again",
    async run(subject) {
      const { maxValueLength } = subject.store.limits;
      if (maxValueLength > 2_000_000) return; // it would be a test of this machine's memory
      const faults: unknown[] = [];
      const [one] = isolates(subject, 1, { onFault: (error) => faults.push(error) });
      const large = "x".repeat(maxValueLength + 1);
      equal((await one!.get("key", () => large, HOUR)).length, large.length, "answered");
      check(faults.length > 0, "reported");
      equal(await one!.get("key", () => "small", HOUR), "small", "the next");
    },
  },
  {
    name: "bad keys, tags, durations and unknown options are refused before any I/O",
    async run(subject) {
      const [one] = isolates(subject, 1);
      const fill = (): string => {
        throw new LawError("no fill");
      };
      const wrong: (() => Promise<unknown>)[] = [
        () => one!.get("key", fill, { ttl: 0 }),
        () => one!.get("key", fill, { ttl: "8d" }),
        () => one!.get("key", fill, { ttl: "1h", tags: [""] }),
        () => one!.get("key", fill, { ttl: "1h", early: -1 }),
        () => one!.get("key", fill, { ttl: "1h", tll: "1h" } as never),
        () => one!.get("key", fill, { ttl: "1h", schema: {} as never }),
        () => one!.peek("key", { schema: { "~standard": {} } as never }),
        () => one!.set("key", 1, { ttl: "1h", absent: "1h" } as never),
        () => one!.invalidateTags([1 as never]),
      ];
      for (const call of wrong) {
        const error = await rejection(call, "refused");
        check(error instanceof TypeError || error instanceof RangeError, String(error));
      }
      // A fill that keeps what is no lifetime hears of it, and nothing is kept.
      for (const kept of ["1h", 60_000, true, null, undefined, [], { tll: "1h" }, { ttl: -1 }]) {
        const error = await rejection(
          () =>
            one!.get("kept", ({ keep }) => {
              keep(kept as never);
              return "value";
            }, HOUR),
          "refused",
        );
        check(error instanceof TypeError || error instanceof RangeError, String(error));
        check(String(error).includes("Cannot"), String(error));
      }
      equal(await one!.peek("kept"), undefined, "nothing is kept");
      for (const options of [{}, { name: "" }, { name: "a", naer: {} }, { name: "a", near: { ttl: 0 } }]) {
        const error = await rejection(
          async () => await createCache(subject.store, options as never),
          "refused",
        );
        check(error instanceof TypeError || error instanceof RangeError, String(error));
      }
    },
  },
];

/** Whether a promise has come to its end, without waiting for it. */
function settled(promise: Promise<unknown>): { done: boolean } {
  const state = { done: false };
  const end = () => void (state.done = true);
  promise.then(end, end);
  return state;
}
