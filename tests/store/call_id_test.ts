/** Names of repeated calls: what a contract holds on to when a reply was lost and the engine remembers it. */
import {
  type AtomicStore,
  createIdempotency,
  createLocks,
  type Fields,
  HoldfastError,
  memoryStore,
  type Transition,
} from "@holdfast/edge";
import { callIdOf, LeaseCall, repeatable } from "../../src/store/call_id.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";

/** A store that remembers the reply to a call of a name, as Upstash does, or does not; some replies are lost. */
function remembering(inner: AtomicStore, remembers: boolean, loses: (transition: string) => boolean) {
  const replies = new Map<string, Fields>();
  const names: (string | undefined)[] = [];
  const wrap = (store: AtomicStore): AtomicStore =>
    new Proxy(store, {
      get(target, property) {
        if (property === "namespace") return (name: string) => wrap(target.namespace(name));
        if (property === "watch") return undefined;
        if (property !== "transact") {
          const value = Reflect.get(target, property);
          return typeof value === "function" ? value.bind(target) : value;
        }
        return async (transition: Transition, key: string, input: Fields, options?: object) => {
          const id = callIdOf(options as never);
          names.push(id);
          const known = remembers && id !== undefined ? replies.get(id) : undefined;
          const reply = known ?? await target.transact(transition, key, input);
          if (id !== undefined) replies.set(id, reply);
          if (!loses(transition.name)) return reply;
          throw new HoldfastError("timeout", "No reply came", { ambiguous: true, retryable: true });
        };
      },
    });
  return { store: wrap(inner), names };
}

/** Lets time pass until the call answers. */
async function settled<T>(clock: ManualClock, call: Promise<T>): Promise<T> {
  let done = false;
  const watched = call.finally(() => done = true);
  watched.catch(() => {});
  for (let i = 0; !done && i < 1000; i++) await clock.advance(10);
  return await watched;
}

Deno.test("call id: two calls have different names, and options that were given stay", () => {
  const { signal } = new AbortController();
  const [one, two] = [repeatable({ signal }), repeatable()];
  assert(callIdOf(one) !== undefined && callIdOf(one) !== callIdOf(two));
  assertEquals(one.signal, signal);
  assertEquals(callIdOf({}), undefined);
});

Deno.test("call id: attempts for a lease have one name until half of it is over, then another and its time", async () => {
  const clock = new ManualClock();
  const call = new LeaseCall(clock, 1000);
  assertEquals(call.sentAt, undefined);
  const began = clock.monotonic();
  const first = callIdOf(call.attempt());
  await clock.advance(500);
  assertEquals([callIdOf(call.attempt()) === first, call.sentAt! - began], [true, 0]);
  await clock.advance(1);
  assertEquals([callIdOf(call.attempt()) === first, call.sentAt! - began], [false, 501]);
});

Deno.test("call id: a claim whose reply was lost is held from the first attempt, when its lease began", async () => {
  const clock = new ManualClock();
  let left = 2;
  const { store, names } = remembering(
    memoryStore({ clock }),
    true,
    (name) => name === "idempotency.begin" && left-- > 0,
  );
  const idempotency = createIdempotency(store, { clock, lease: "1s" });
  const began = clock.monotonic();
  const begun = await settled(clock, idempotency.begin("key"));
  assert(begun.state === "new");
  assertEquals([names.length, new Set(names).size], [3, 1], "three attempts of one name");
  const waited = clock.monotonic() - began;
  assert(waited > 0, "the attempts were apart");
  const hold = idempotency.hold(begun.claim);
  const { signal } = hold;
  hold.lapse(); // no renewal: the lease runs out
  await clock.advance(1000 - waited);
  assert(signal.aborted, "the lease is over when the engine's is");
  hold.stop();
});

for (const remembers of [true, false]) {
  const engine = remembers ? "that remembers replies" : "that does not";
  Deno.test(`call id: abandon() and release() after a lost reply, when another came meanwhile, on an engine ${engine}`, async () => {
    const clock = new ManualClock();
    const inner = memoryStore({ clock });
    const others = { idempotency: createIdempotency(inner, { clock }), locks: createLocks(inner, { clock }) };
    let losing = "";
    const { store } = remembering(inner, remembers, (name) => {
      if (name !== losing) return false;
      losing = "";
      return true;
    });
    const idempotency = createIdempotency(store, { clock });
    const begun = await idempotency.begin("key");
    assert(begun.state === "new");
    losing = "idempotency.abandon";
    const abandoned = idempotency.abandon(begun.claim);
    for (let i = 0; i < 20; i++) await undefined; // the first attempt has had its effect
    assertEquals((await others.idempotency.begin("key")).state, "new");
    assertEquals(await settled(clock, abandoned), remembers, "given back, or looked at again");

    const lock = (await createLocks(store, { clock }).acquire("key", { ttl: "10s" }))!;
    losing = "lock.release";
    const released = lock.release();
    for (let i = 0; i < 20; i++) await undefined;
    assert(await others.locks.acquire("key", { ttl: "10s" }) !== undefined, "free");
    assertEquals(await settled(clock, released), "released", "its own token tells that it was released");
  });
}
