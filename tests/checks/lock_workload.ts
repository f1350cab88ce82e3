/** Many clients in and out of critical sections, some of them asleep for longer than their lease. */
import type { Lock } from "@holdfast/edge";
import type { Random } from "../support/random.ts";
import { FencedRegister, mutualExclusion, type Verdict } from "./mutual_exclusion.ts";
import { Recorder } from "./recorder.ts";

/** A grant, ours or a peer's. */
export interface Held {
  readonly fence: number | undefined;
  /** Absent where the holder is never notified. */
  readonly signal: AbortSignal | undefined;
  /** The answer of `assertHeld()`: a blocked event loop fires no timer, but this reads the clock. */
  readonly held?: () => boolean;
  release(): Promise<unknown>;
}

/** One way to lock: what a client does to get in. Undefined: not this time. */
export type Acquire = (key: string, ttl: number) => Promise<Held | undefined>;

export interface WorkloadOptions {
  readonly random: Random;
  /** One per client, so that they share nothing but the engine. */
  readonly clients: readonly Acquire[];
  /** Sections per client. */
  readonly sections: number;
  readonly keys?: number;
  readonly ttl?: number;
  /** The number of sections that sleep for longer than the lease. */
  readonly pauses?: number;
  /** The number that may be inside at a time. */
  readonly permits?: number;
}

export interface WorkloadVerdict extends Verdict {
  /** Acquisitions that threw. */
  readonly errors: number;
  /** Sections whose signal aborted before they ended. */
  readonly told: number;
  /**
   * Accepted writes that a later one did not know of: in a register that checks tokens, and in one that
   * trusts the signal.
   */
  readonly lost: number;
  readonly lostUnfenced: number;
  readonly seconds: number;
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

export async function runWorkload(options: WorkloadOptions): Promise<WorkloadVerdict> {
  const { random, clients, sections, keys = 4, ttl = 200, pauses = 0.03, permits = 1 } = options;
  const recorder = new Recorder();
  const registers = Array.from(
    { length: keys },
    () => ({ fenced: new FencedRegister(), plain: new FencedRegister() }),
  );
  /** The holder inside, by key, and a function that asks whether it knows that it has lost the lock. */
  const inside = new Map<string, Map<number, () => void>>();
  let [errors, told] = [0, 0];
  const began = performance.now();

  async function client(acquire: Acquire, client: number): Promise<void> {
    let lease = ttl;
    for (let entered = 0, failures = 0; entered < sections && failures < sections * 20;) {
      const index = random.below(keys);
      const key = `resource-${index}`;
      let grant: Held | undefined;
      try {
        grant = await acquire(key, lease);
        // A machine may be so slow that every grant comes after its lease.
        if (grant === undefined) lease *= 2;
      } catch {
        errors++;
      }
      const held = grant;
      if (held === undefined) {
        failures++;
        continue;
      }
      entered++;
      const { fence, signal } = held;
      const at = { key, client, section: recorder.section() };
      const out = () => signal !== undefined && (signal.aborted || held.held?.() === false);
      if (!inside.has(key)) inside.set(key, new Map());
      const others = inside.get(key)!;
      for (const ask of others.values()) ask();
      recorder.note({ ...at, kind: "enter", fence });
      const onAbort = () => recorder.note({ ...at, kind: "told" });
      if (out()) onAbort();
      others.set(at.section, () => out() && onAbort());
      signal?.addEventListener("abort", onAbort, { once: true });
      const { fenced, plain } = registers[index]!;
      const [seen, seenPlain] = [fenced.read(fence), plain.value];
      if (random.chance(pauses)) await sleep(lease * 1.3);
      else if (random.chance(0.5)) await sleep(random.below(4));
      // The fenced register is written to whatever the signal says; the plain one by those who were not told.
      if (seen !== undefined) fenced.write(fence, seen + 1);
      if (!out()) plain.write(undefined, seenPlain + 1);
      else told++;
      others.delete(at.section);
      signal?.removeEventListener("abort", onAbort);
      recorder.note({ ...at, kind: "exit" });
      await held.release().catch(() => errors++);
    }
  }

  await Promise.all(clients.map(client));
  const sum = (count: (pair: typeof registers[number]) => number) =>
    registers.map(count).reduce((a, b) => a + b);
  return {
    ...mutualExclusion(recorder.events, permits),
    errors,
    told,
    lost: sum(({ fenced }) => fenced.lost),
    lostUnfenced: sum(({ plain }) => plain.lost),
    seconds: (performance.now() - began) / 1000,
  };
}

/** One line of the table. */
export function shown(name: string, verdict: WorkloadVerdict): string {
  const { sections, overlaps, notIncreasing, lost, lostUnfenced, told, errors, seconds } = verdict;
  return `${
    name.padEnd(34)
  } sections ${sections}, overlaps of holders not told ${overlaps}, tokens not increasing ${
    notIncreasing ?? "(no tokens)"
  }, lost updates ${lost} (by signal alone ${lostUnfenced}), told ${told}, errors ${errors}, ${
    seconds.toFixed(1)
  } s`;
}

/** A lock of ours, as the workload sees it. */
export function heldLock(lock: Lock | undefined): Held | undefined {
  return lock && {
    fence: lock.fencingToken,
    signal: lock.signal,
    held: () => lock.remaining > 0,
    release: () => lock.release(),
  };
}
