/** Clients that call one key at the same time, and record what they are answered. */
import { type AtomicStore, createIdempotency, createLocks, HoldfastError, type Lock } from "@holdfast/edge";
import type { Random } from "../support/random.ts";
import { isLinearizable, type Model, type Operation } from "./linearizability.ts";
import {
  counter,
  type CounterIn,
  type CounterOut,
  idempotency,
  type IdempotencyIn,
  type IdempotencyOut,
  lock,
  type LockIn,
  type LockOut,
  register,
  type RegisterIn,
  type RegisterOut,
} from "./models.ts";
import { Recorder } from "./recorder.ts";

/** The result of one history. */
export interface Verdict {
  readonly linearizable: boolean;
  readonly operations: readonly Operation<unknown, unknown>[];
  readonly counts: { readonly certain: number; readonly doubtful: number; readonly refused: number };
}

/** Runs a history on a namespace of its own and judges it. */
export type Workload = (store: AtomicStore, random: Random) => Promise<Verdict>;

const CLIENTS = 4;

async function run<State, In, Out>(
  model: Model<State, In, Out>,
  random: Random,
  client: (recorder: Recorder<In, Out>, client: number, pause: () => Promise<void>) => Promise<void>,
): Promise<Verdict> {
  const recorder = new Recorder<In, Out>();
  // Calls of one tick would share a request: clients are apart by some milliseconds.
  const pause = () => new Promise<void>((resolve) => setTimeout(resolve, random.below(4)));
  await Promise.all(Array.from({ length: CLIENTS }, (_, i) => client(recorder, i, pause)));
  const { operations, counts } = recorder;
  return { linearizable: isLinearizable(model, operations), operations, counts };
}

/** A result that says itself that it is in doubt. */
const doubt = () => new HoldfastError("backend-unavailable", "Cannot tell", { ambiguous: true });

const KEY = "key";
const orNull = (value: number | undefined) => value ?? null;

const registers: Workload = (store, random) =>
  run<number | null, RegisterIn, RegisterOut>(register, random, async (recorder, client, pause) => {
    let known: number | null = null;
    for (let i = 0; i < 6; i++) {
      await pause();
      const value = client * 100 + i;
      const call = random.pick(["set", "set", "get", "get", "get", "delete", "compareAndSet"] as const);
      if (call === "set") {
        await recorder.call(client, { call, value }, async () => {
          await store.set(KEY, value);
          return { done: true };
        });
      } else if (call === "get") {
        const out = await recorder.call(
          client,
          { call },
          async () => ({ value: orNull(await store.get(KEY)) }),
        );
        if (out) known = (out as { value: number | null }).value;
      } else if (call === "delete") {
        await recorder.call(client, { call }, async () => ({ done: await store.delete(KEY) }));
      } else {
        const expected = known;
        await recorder.call(client, { call, expected, value }, async () => {
          const out = await store.compareAndSet<number>(KEY, expected ?? undefined, value);
          return out.set ? { done: true } : { done: false, current: orNull(out.current) };
        });
      }
    }
  });

const counters: Workload = (store, random) =>
  run<number, CounterIn, CounterOut>(counter, random, async (recorder, client, pause) => {
    for (let i = 0; i < 6; i++) {
      await pause();
      if (random.chance(0.3)) {
        await recorder.call(
          client,
          { call: "get" },
          async () => ({ value: await store.get<number>(KEY) ?? 0 }),
        );
      } else {
        const by = 1 + random.below(5);
        const call = async () => ({ value: (await store.increment(KEY, { by })).value });
        await recorder.call(client, { call: "increment", by }, call);
      }
    }
  });

const locks: Workload = (store, random) => {
  let grants = 0;
  return run<unknown, LockIn, LockOut>(
    lock as Model<unknown, LockIn, LockOut>,
    random,
    async (recorder, client, pause) => {
      const manager = createLocks(store);
      for (let i = 0; i < 4; i++) {
        await pause();
        const grant = ++grants;
        let held: Awaited<ReturnType<typeof manager.acquire>>;
        await recorder.call(client, { call: "acquire", grant }, async () => {
          held = await manager.acquire(KEY, { ttl: "1h" });
          return { fence: held ? Number((held as Lock).fencingToken) : null };
        }, { call: "release", grant });
        if (!held) continue;
        await pause();
        await recorder.call(client, { call: "release", grant }, async () => {
          const result = await held!.release();
          if (result === "unconfirmed") throw doubt();
          return { released: result === "released" };
        });
      }
    },
  );
};

const claims: Workload = (store, random) => {
  let begun = 0;
  const model = idempotency as Model<unknown, IdempotencyIn, IdempotencyOut>;
  return run<unknown, IdempotencyIn, IdempotencyOut>(model, random, async (recorder, client, pause) => {
    const contract = createIdempotency(store);
    for (let i = 0; i < 4; i++) {
      await pause();
      const claim = ++begun;
      let mine: Parameters<typeof contract.complete>[0] | undefined;
      await recorder.call(client, { call: "begin", claim }, async () => {
        const out = await contract.begin(KEY, { lease: "1h", retention: "2h" });
        if (out.state === "new") mine = out.claim;
        if (out.state === "completed") return { result: out.response as number };
        return { state: out.state as "new" | "in-progress" };
      }, { call: "abandon", claim });
      if (!mine) continue;
      await pause();
      if (random.chance(0.7)) {
        await recorder.call(client, { call: "abandon", claim }, async () => (
          { state: await contract.abandon(mine!) ? "ok" : "lost" }
        ));
      } else {
        await recorder.call(client, { call: "complete", claim }, async () => (
          { state: (await contract.complete(mine!, claim)).state === "stored" ? "ok" : "lost" }
        ));
      }
    }
  });
};

/** By what they use. */
export const workloads: Readonly<Record<string, Workload>> = {
  register: registers,
  counter: counters,
  lock: locks,
  idempotency: claims,
};
