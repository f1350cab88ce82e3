/**
 * Lives of a cache in virtual time: several isolates read one key and invalidate or expire it while calls are lost, late
 * and doubled, fillers die, requests are cancelled and clocks differ. A seed repeats a life.
 *
 * The origin holds a number that only grows. A write raises it, then invalidates the key or its tag, or expires the key.
 * The promise: a read that begins after an invalidation was acknowledged answers at least the number that it was raised to.
 */
import { type AtomicStore, HoldfastError } from "@holdfast/edge";
import { type Fields, type Step, storeFromEngine, type Transition } from "@holdfast/edge/engine";
import { type Cache, cacheTransitions, createCache } from "@holdfast/edge/cache";
import { MachineClock, World } from "../simulation/_world.ts";

/** The source of an engine's time. */
export type EngineModel = "one clock" | "the callers' clocks";

/** The operations of a cache that a life needs. */
export type SimulatedCache = Pick<Cache, "get" | "invalidate" | "expire" | "invalidateTags">;

/** Options of {@linkcode live}. */
export interface LifeOptions {
  readonly model: EngineModel;
  /** The chance that a call goes wrong. */
  readonly faults: number;
  /**
   * Whether the key is invalidated: a fill may begin beside one that an invalidation has ended.
   * @default {true}
   */
  readonly invalidates?: boolean;
  /** Makes the cache of an isolate; another one, to see it fail. */
  readonly create?: (store: AtomicStore, clock: MachineClock) => SimulatedCache;
  /** Changes a transition, to see it fail. */
  readonly mutate?: (transition: Transition) => Transition;
  /** Changes the input of a call, to see it fail. */
  readonly disturb?: (name: string, input: Fields, tags: ReadonlyMap<string, string>) => Fields;
}

/** The result of a life. */
export interface Verdict {
  /** Reads that answered something older than an invalidation that was acknowledged before they began. */
  readonly stale: number;
  /** Fills that ran beside another one, in a life without faults. */
  readonly doubled: number;
  readonly reads: number;
  readonly fills: number;
  readonly invalidations: number;
}

/** A record of the engine. */
interface Stored {
  readonly record: Fields;
  readonly expiresAt: number | undefined;
}

const KEY = "key";
const TAG = "tag";
/** Clocks differ by so many milliseconds at most. */
const SKEW = 5000;
const ISOLATES = 3;

/** Lives one life. */
export async function live(seed: number, options: LifeOptions): Promise<Verdict> {
  const world = new World(seed);
  const life = new Life(world, options);
  await world.until(life.run());
  return life.verdict;
}

/** An error that a life brings about. */
class Expected extends Error {}

class Life {
  readonly #world: World;
  readonly #options: LifeOptions;
  readonly #records = new Map<string, Stored>();
  /** The number that the origin holds. */
  #origin = 1;
  /** The highest number that an acknowledged invalidation was about. */
  #acknowledged = 0;
  #filling = 0;
  #counts = { stale: 0, doubled: 0, reads: 0, fills: 0, invalidations: 0 };

  constructor(world: World, options: LifeOptions) {
    this.#world = world;
    this.#options = options;
  }

  get verdict(): Verdict {
    return this.#counts;
  }

  async run(): Promise<void> {
    const { random } = this.#world;
    const isolates = Array.from({ length: ISOLATES }, (_, i) => {
      const skew = this.#options.model === "one clock" || i === 0 ? 0 : random.below(2 * SKEW) - SKEW;
      return new MachineClock(this.#world, skew);
    });
    const {
      create = (store, clock) => createCache(store, { name: "cache", clock, lease: 1000, timeout: 3000 }),
    } = this.#options;
    const caches = isolates.map((clock) => create(this.#store(clock), clock));
    const { invalidates = true } = this.#options;
    const tagged = random.chance(0.5);
    const work: Promise<void>[] = [];
    for (let i = 0; i < 10 + random.below(10); i++) {
      const isolate = random.below(ISOLATES);
      const clock = isolates[isolate]!;
      const at = random.below(3000);
      work.push(
        this.#world.delay(at).then(async () => {
          if (!clock.alive) return;
          const act = random.next();
          if (act < 0.3 && invalidates) await this.#invalidate(caches[isolate]!, tagged);
          else if (act < 0.36 && isolate > 0 && this.#options.faults > 0) clock.alive = false; // its fills never end
          else await this.#read(caches[isolate]!, clock, tagged);
        }),
      );
    }
    // An isolate that died never answers.
    await Promise.race([Promise.all(work), this.#world.delay(60_000)]);
  }

  async #invalidate(cache: SimulatedCache, tagged: boolean): Promise<void> {
    const number = ++this.#origin;
    try {
      // Without `stale` and `grace` a key that is expired promises the same as one that is invalidated.
      if (this.#world.random.chance(0.3)) await cache.expire(KEY);
      else if (tagged) await cache.invalidateTags([TAG]);
      else await cache.invalidate(KEY);
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      return; // it was not acknowledged
    }
    this.#counts.invalidations++;
    this.#acknowledged = Math.max(this.#acknowledged, number);
  }

  async #read(cache: SimulatedCache, clock: MachineClock, tagged: boolean): Promise<void> {
    const { random } = this.#world;
    const least = this.#acknowledged;
    const over = new AbortController();
    if (random.chance(this.#options.faults / 2)) {
      this.#world.later(random.below(500), () => over.abort(new Expected("the client left")));
    }
    const fill = async () => {
      this.#counts.fills++;
      if (this.#filling++ > 0 && this.#options.faults === 0) this.#counts.doubled++;
      await this.#world.delay(random.below(50));
      const number = this.#origin;
      await this.#world.delay(random.chance(0.1) ? random.below(4000) : random.below(200));
      this.#filling--;
      if (random.chance(this.#options.faults / 2)) throw new Expected("the origin failed");
      return number;
    };
    try {
      const options = { ttl: "1h", signal: over.signal, ...(tagged && { tags: [TAG] }) } as const;
      const number = await cache.get(KEY, fill, options);
      if (!clock.alive) return;
      this.#counts.reads++;
      if (number < least) this.#counts.stale++;
    } catch (error) {
      // A fault of the store, the origin's error, or the client's own: none is an answer.
      if (!(error instanceof HoldfastError || error instanceof Expected)) throw error;
    }
  }

  /** The engine as one isolate reaches it. */
  #store(clock: MachineClock): AtomicStore {
    const { model, mutate = (transition) => transition, disturb = (_name, input) => input } = this.#options;
    const mutants = new Map(cacheTransitions.map((transition) => [transition.name, mutate(transition)]));
    const now = () => model === "one clock" ? Math.floor(this.#world.now) : clock.now();
    const read = (key: string) => {
      const stored = this.#records.get(key);
      return stored && stored.expiresAt !== undefined && now() >= stored.expiresAt
        ? undefined
        : stored?.record;
    };
    const transact = (transition: Transition, key: string, input: Fields): Fields => {
      const known = mutants.get(transition.name) ?? transition;
      const tags = new Map([...this.#records].map(([key, { record }]) => [key, record.v ?? ""]));
      const step: Step = known.apply(read(key), disturb(transition.name, input, tags), now());
      if (step.write?.record) {
        this.#records.set(key, { record: step.write.record, expiresAt: step.write.expiresAt });
      } else if (step.write) this.#records.delete(key);
      return step.output;
    };
    return storeFromEngine({
      name: "simulated",
      limits: { maxKeyBytes: 512, maxValueLength: 1_000_000 },
      transact: (transition, key, input) => this.#travel(clock, () => transact(transition, key, input)),
      list: () => ({ keys: [] }),
    });
  }

  /** A call: on its way, its effect, the way back. */
  async #travel<T>(clock: MachineClock, effect: () => T): Promise<T> {
    const { random } = this.#world;
    const { faults } = this.#options;
    const wrong = random.chance(faults) ? random.below(4) : -1;
    await this.#world.delay(1 + random.below(20));
    if (wrong === 0) throw lost(false);
    if (wrong === 1) {
      // It arrives long after its caller gave up.
      this.#world.later(random.below(5000), () => void effect());
      throw lost(true);
    }
    const result = effect();
    if (wrong === 2) this.#world.later(random.below(2000), () => void effect()); // a copy
    await this.#world.delay(1 + random.below(20));
    if (!clock.alive) return await new Promise<never>(() => {});
    if (wrong === 3) throw lost(true);
    return result;
  }
}

function lost(ambiguous: boolean): HoldfastError {
  return new HoldfastError("backend-unavailable", "Cannot use the store as the call was lost", {
    retryable: true,
    ambiguous,
  });
}
