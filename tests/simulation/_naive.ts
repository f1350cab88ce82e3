/**
 * Replication as the seed document describes it, in our words: three strategies, a worker with a queue of
 * events that tries each a fixed number of times, an upsert with a time to live on both sides, the secondary
 * asked on a miss. It is here to lose: a simulator that it survives would prove nothing.
 */
import { type AtomicStore, HoldfastError } from "@holdfast/edge";
import type { Atomic, IndexedSessionStore, ReplicationStrategy, SessionSaved } from "@holdfast/edge/sessions";
import type { MachineClock } from "./_world.ts";

type Data = Record<string, string>;
type Event =
  | { readonly key: string; readonly type: "save"; readonly data: Data; readonly ttl: number }
  | { readonly key: string; readonly type: "delete" };

const ATTEMPTS = 3;
const DELAY = 100;

export class NaiveReplication {
  readonly #primary: AtomicStore;
  readonly #secondary: AtomicStore;
  readonly #strategy: ReplicationStrategy;
  readonly #clock: MachineClock;
  readonly #queue: Event[] = [];
  #working = false;

  constructor(
    primary: AtomicStore,
    secondary: AtomicStore,
    strategy: ReplicationStrategy,
    clock: MachineClock,
  ) {
    this.#primary = primary;
    this.#secondary = secondary;
    this.#strategy = strategy;
    this.#clock = clock;
  }

  get pending(): number {
    return this.#queue.length;
  }

  async load(key: string): Promise<Data | undefined> {
    return await this.#primary.get<Data>(key) ?? await this.#secondary.get<Data>(key);
  }

  async save(key: string, data: Data, ttl: number): Promise<void> {
    await this.#both({ key, type: "save", data, ttl });
  }

  async delete(key: string): Promise<void> {
    await this.#both({ key, type: "delete" });
  }

  /** Waits until the worker has nothing left to do. */
  async idle(): Promise<void> {
    while (this.#working) await this.#clock.sleep(DELAY);
  }

  async #both(event: Event): Promise<void> {
    if (this.#strategy === "sync") {
      const done = await Promise.allSettled([apply(this.#primary, event), apply(this.#secondary, event)]);
      for (const one of done) if (one.status === "rejected") throw one.reason;
      return;
    }
    await apply(this.#primary, event);
    if (this.#strategy === "acknowledged") return await apply(this.#secondary, event);
    this.#queue.push(event);
    if (!this.#working) void this.#work();
  }

  async #work(): Promise<void> {
    this.#working = true;
    while (this.#queue.length > 0) {
      for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
        try {
          // Its requests had a deadline, too: a worker that hangs for ever would be too easy to beat.
          await Promise.race([
            apply(this.#secondary, this.#queue[0]!),
            this.#clock.sleep(2000).then(() => {
              throw new HoldfastError("timeout", "Cannot wait longer");
            }),
          ]);
          break;
        } catch {
          if (attempt < ATTEMPTS) await this.#clock.sleep(DELAY);
        }
      }
      this.#queue.shift();
    }
    this.#working = false;
  }
}

async function apply(store: AtomicStore, event: Event): Promise<void> {
  if (event.type === "save") await store.set(event.key, event.data, { ttl: event.ttl });
  else await store.delete(event.key);
}

/** A store that replication talks to, as an isolate sees it. */
export type Side = Atomic<IndexedSessionStore>;

/**
 * Faults planted between our algorithm and its two sides, each of which makes it the naive one in a single
 * point:
 *
 * - `delete-trusts-unknown`: a delete ends, and is a success, when the primary says that it knows no such
 * session.
 * - `no-reconciliation`: reads see one side, and a late effect is never looked for.
 * - `sync-acknowledges-one`: a save is answered although the secondary did not take its copy.
 * - `older-overwrites`: a copy is stored whatever is there.
 */
export type PlantedFault =
  | "delete-trusts-unknown"
  | "no-reconciliation"
  | "sync-acknowledges-one"
  | "older-overwrites";

/** The two sides with the fault in between. */
export function planted([primary, secondary]: [Side, Side], fault: PlantedFault | undefined): [Side, Side] {
  switch (fault) {
    case undefined:
      return [primary, secondary];
    case "delete-trusts-unknown":
      return trustingUnknown(primary, secondary);
    case "no-reconciliation":
      return blind(primary, secondary);
    case "sync-acknowledges-one":
      return [primary, {
        ...methods(secondary),
        save: (key, change) => acknowledged(secondary, key, change),
      }];
    case "older-overwrites":
      return [primary, { ...methods(secondary), save: (key, change) => overwritten(secondary, key, change) }];
  }
}

function methods(store: Side): Side {
  return {
    consistency: "atomic",
    index: store.index,
    load: (key, options) => store.load(key, options),
    exists: (key, options) => store.exists(key, options),
    save: (key, change, options) => store.save(key, change, options),
    delete: (key, options) => store.delete(key, options),
  };
}

/** No delete reaches the secondary whose session the primary did not know. */
function trustingUnknown(primary: Side, secondary: Side): [Side, Side] {
  const known = new Map<string, Promise<boolean>>();
  return [
    {
      ...methods(primary),
      delete(key, options) {
        const deleted = primary.delete(key, options);
        known.set(key, deleted.then((record) => record !== undefined, () => true));
        return deleted;
      },
      // To be asked whether it knows the session is to say that another caller ended it.
      load: async (key, options) => {
        const found = await primary.load(key, options);
        const asked = found.state === "unknown" && known.has(key) && !(await known.get(key)!);
        return asked ? { state: "ended", why: "revoked" } : found;
      },
    },
    {
      ...methods(secondary),
      async delete(key, options) {
        await undefined; // the primary's delete is under way
        return await known.get(key) ?? true ? await secondary.delete(key, options) : undefined;
      },
    },
  ];
}

/**
 * Copies only what a write of this isolate answered, and shows no difference to a read: a late effect is
 * never looked for.
 */
function blind(primary: Side, secondary: Side): [Side, Side] {
  const answered = new Map<string, number>();
  return [
    {
      ...methods(primary),
      async save(key, change, options) {
        const saved = await primary.save(key, change, options);
        if (saved.state === "saved") {
          answered.set(key, Math.max(answered.get(key) ?? 0, saved.record.version));
        }
        return saved;
      },
    },
    {
      ...methods(secondary),
      load: (key, options) => primary.load(key, options),
      async save(key, change, options) {
        if (change.type !== "put") return await secondary.save(key, change, options);
        const { record } = change;
        if (record.version > (answered.get(key) ?? 0)) return { state: "saved", record };
        const saved = await secondary.save(key, change, options);
        return saved.state === "conflict" ? { state: "saved", record } : saved;
      },
    },
  ];
}

async function acknowledged(
  secondary: Side,
  key: string,
  change: Parameters<Side["save"]>[1],
): Promise<SessionSaved> {
  try {
    return await secondary.save(key, change);
  } catch (error) {
    if (change.type === "put") return { state: "saved", record: change.record };
    throw error;
  }
}

async function overwritten(
  secondary: Side,
  key: string,
  change: Parameters<Side["save"]>[1],
): Promise<SessionSaved> {
  const saved = await secondary.save(key, change);
  if (change.type !== "put" || saved.state !== "conflict") return saved;
  const { version } = saved.record;
  return await secondary.save(key, {
    type: "put",
    record: { ...change.record, version },
    ifVersion: version,
  });
}
