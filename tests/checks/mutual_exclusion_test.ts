/** The checker is itself checked: planted violations and broken locks must not pass it. */
import { type AtomicStore, createLocks, memoryStore, systemClock } from "@holdfast/edge";
import type { Transition } from "@holdfast/edge/engine";
import { assert, assertEquals } from "../support/assert.ts";
import { Random } from "../support/random.ts";
import { type Acquire, heldLock, runWorkload } from "./lock_workload.ts";
import { FencedRegister, mutualExclusion } from "./mutual_exclusion.ts";
import { type Event, Recorder } from "./recorder.ts";

/** `"a+1 a-1"`: section a enters with token 1, then leaves; `a!` is notified; `a@x` works on key x. */
function history(text: string): Event[] {
  const recorder = new Recorder();
  const sections = new Map<string, number>();
  for (const word of text.split(" ")) {
    const [, name, key = "key", what, fence] = /^(\w)(?:@(\w))?([+!-])(\d*)$/.exec(word)!;
    if (!sections.has(name!)) sections.set(name!, recorder.section());
    const at = { key, client: 0, section: sections.get(name!)! };
    if (what === "+") recorder.note({ ...at, kind: "enter", fence: fence ? Number(fence) : undefined });
    else recorder.note({ ...at, kind: what === "!" ? "told" : "exit" });
  }
  return recorder.events;
}

Deno.test("the checker passes correct histories and flags planted violations", () => {
  const judged = (text: string, permits = 1) => {
    const { overlaps, notIncreasing } = mutualExclusion(history(text), permits);
    return [overlaps, notIncreasing];
  };
  assertEquals(judged("a+1 a- b+2 b-"), [0, 0], "one after the other");
  assertEquals(judged("a+1 a! b+2 a- b-"), [0, 0], "the first was notified in time");
  assertEquals(judged("a@x+1 b@y+1 a@x- b@y-"), [0, 0], "other keys");
  assertEquals(judged("a+1 b+2 b- a-"), [1, 0], "an overlap");
  assertEquals(judged("a+1 b+2 a! b- a-"), [1, 0], "notified too late");
  assertEquals(judged("a+1 b+2 c+3 a- b- c-"), [2, 0], "two overlaps");
  assertEquals(judged("a+5 a- b+5 b-"), [0, 1], "the same token twice");
  assertEquals(judged("a+5 a- b+9 b- c+7 c-"), [0, 1], "a lower token");
  assertEquals(judged("a+ a- b+ b-"), [0, undefined], "no tokens");
  assertEquals(judged("a+1 b+2 a- c+3 b- c-", 2), [0, 0], "two permits");
  assertEquals(judged("a+1 b+2 c+3 a- b- c-", 2), [1, 0], "a third with two permits");
});

Deno.test("the register counts lost updates, and fencing tokens prevent them", () => {
  const plain = new FencedRegister();
  const [a, b] = [plain.read(undefined)!, plain.read(undefined)!];
  assertEquals([plain.write(undefined, a + 1), plain.write(undefined, b + 1), plain.lost], [true, true, 1]);
  const fenced = new FencedRegister();
  const [c, d] = [fenced.read(1)!, fenced.read(2)!];
  assertEquals([fenced.write(1, c + 1), fenced.write(2, d + 1), fenced.lost], [false, true, 0]);
});

/** A store whose transitions of one name are replaced. */
function mutant(store: AtomicStore, name: string, apply: Transition["apply"]): AtomicStore {
  return new Proxy(store, {
    get(target, property) {
      if (property === "namespace") return (space: string) => mutant(target.namespace(space), name, apply);
      if (property === "transact") {
        return (transition: Transition, ...rest: [string, Record<string, string>]) =>
          target.transact(transition.name === name ? { name, apply } : transition, ...rest);
      }
      const value = Reflect.get(target, property);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/**
 * Time as holders measure it: an engine on the wall clock ends their leases early where that is corrected meanwhile. The
 * checker is what is tested here.
 */
const clock = { ...systemClock, now: () => Math.floor(performance.timeOrigin + performance.now()) };

async function verdict(store: AtomicStore, told = true) {
  const client: Acquire = async (key, ttl) => {
    const lock = await createLocks(store).acquire(key, { ttl, wait: "20s" });
    return told ? heldLock(lock) : lock && {
      fence: lock.fencingToken,
      signal: undefined,
      release: () => lock.release(),
    };
  };
  const random = new Random(7);
  const clients = Array.from({ length: 6 }, () => client);
  return await runWorkload({ random, clients, sections: 12, keys: 1, ttl: 40, pauses: 0.3 });
}

Deno.test({
  name:
    "the checker flags broken locks: holders that are not notified, releases of others' locks, tokens that start again",
  sanitizeOps: false,
  async fn() {
    const right = await verdict(memoryStore({ clock }));
    assertEquals([right.overlaps, right.notIncreasing, right.lost, right.lostUnfenced], [0, 0, 0, 0], "ours");
    assert(right.told > 0, "some were notified");

    const untold = await verdict(memoryStore({ clock }), false);
    assert(untold.overlaps > 0 && untold.lostUnfenced > 0, "a holder that is never notified");
    assertEquals(untold.lost, 0, "its tokens still protect");

    const unchecked = await verdict(mutant(memoryStore({ clock }), "lock.release", (record) => ({
      output: { result: "released" },
      write: { record: record && { f: record.f!, x: record.x! } },
    })));
    assert(unchecked.overlaps > 0, "a release that does not check the owner");

    const forgetful = await verdict(mutant(memoryStore({ clock }), "lock.release", () => ({
      output: { result: "released" },
      write: { record: { f: "1", x: "0" } },
    })));
    assert(forgetful.overlaps > 0, "and one that forgets the token as well");
    const counter = mutant(memoryStore({ clock }), "lock.acquire", (record, { owner, ttl }, now) => {
      if (record && now < Number(record.p!.split(" ")[1])) return { output: { remaining: "5" } };
      const until = String(now + Number(ttl));
      return { output: { fence: "1", e: until }, write: { record: { p: `h ${until}`, owner: owner! } } };
    });
    assert((await verdict(counter)).notIncreasing! > 0, "tokens that start again");
  },
});
