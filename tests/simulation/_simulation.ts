/**
 * One life of a replicated store, told by a seed: isolates, clients that create, write, read and delete
 * sessions, a network that loses calls and answers, outages, crashes; then peace, and the question whether
 * every promise was kept.
 */
import { type AtomicStore, memoryStore } from "@holdfast/edge";
import {
  type Atomic,
  atomicSessionStore,
  type IndexedSessionStore,
  type ReplicatedSessions,
  replicatedSessions,
  type ReplicationStrategy,
  sessionExpiry,
  type SessionRecord,
} from "@holdfast/edge/sessions";
import { Memory } from "./_memory.ts";
import { NaiveReplication, planted, type PlantedFault, type Side } from "./_naive.ts";
import { Network } from "./_network.ts";
import { MachineClock, World } from "./_world.ts";

/** The promises that must hold. */
export type Invariant =
  | "a deleted session is never readable again"
  | "an older save never wins"
  | "both sides converge at quiescence"
  | "the queue stays in its bound"
  | "no copy outlives the original"
  | "an acknowledged write is never lost";

/** One way of living. */
export interface SimulationOptions {
  readonly seed: number;
  readonly strategy: ReplicationStrategy;
  /** Ours, or the seed document's. */
  readonly algorithm?: "ours" | "naive";
  /** Whether the primary restarts empty, is set back to an older state, or both, once or twice in a life. */
  readonly loses?: boolean;
  /** The behaviour of reads while a side is away; the default is the module's. */
  readonly whenUnavailable?: "confirm" | "degrade" | "throw";
  /** The fault planted in our algorithm, on the way between an isolate and its two sides. */
  readonly fault?: PlantedFault;
  /** Breaks a side on purpose, to see whether the checks notice. */
  readonly plant?: {
    readonly primary?: (store: Atomic<IndexedSessionStore>) => Atomic<IndexedSessionStore>;
    readonly secondary?: (store: Atomic<IndexedSessionStore>) => Atomic<IndexedSessionStore>;
    /** A bound that the queue was not told. */
    readonly bound?: number;
  };
}

/** The result of a life. */
export interface Life {
  readonly violations: readonly { readonly invariant: Invariant; readonly what: string }[];
  /** The number of events of each kind, to show that enough happened. */
  readonly seen: Readonly<Record<string, number>>;
  readonly events: number;
}

const SESSIONS = 8;
const ISOLATES = 3;
const QUEUE = 8;
const TIMEOUT = 500;
const LONG = 600_000;
const SHORT = 4_000;
const ABSOLUTE = 1_200_000;
/** Clocks differ by at most this. */
const SKEW = 2_000;
/** Calls take effect up to 20 times later than their callers wait. */
const LATE = 20 * TIMEOUT;
const SLACK = SKEW * 2 + LATE;

/** The calls of an isolate, by our algorithm or the naive one. */
interface Subject {
  create(key: string, user: string, idle: number): Promise<boolean>;
  write(key: string, field: string, value: number): Promise<"saved" | "gone">;
  read(
    key: string,
  ): Promise<{ readonly values: Readonly<Record<string, string>>; readonly degraded: boolean } | undefined>;
  delete(key: string, how: "ignore" | "tombstone" | "rotate"): Promise<void>;
  settle(): Promise<void>;
  readonly pending: number;
}

interface Isolate {
  readonly clock: MachineClock;
  readonly subject: Subject;
  readonly store: ReplicatedSessions | undefined;
  /** The number of its reads that the secondary did not answer. */
  readonly secondaryAway: { failures: number };
  /** The number of requests that failed. */
  readonly faults: { count: number };
  /** Sessions that it had to do with. */
  readonly touched: Set<string>;
}

/** The certain facts about a session. */
interface Fate {
  readonly key: string;
  readonly user: string;
  readonly idle: number;
  /** Values that a write was answered for, by field. */
  readonly acked: Map<string, number>;
  created: boolean;
  /** The time at which a delete was answered, or first asked for in vain. */
  deleted?: number;
  doomed: boolean;
  /** A rotation is under way that may still be refused, or its isolate died on the way. */
  rotating: boolean;
  /** The last time at which it may have been written. */
  writtenAt: number;
  /** A caller was told that it would not be shipped, or its isolate died without an outbox. */
  excused: boolean;
}

export async function live(options: SimulationOptions): Promise<Life> {
  const { seed, strategy, algorithm = "ours", plant = {}, loses = false, whenUnavailable, fault } = options;
  const world = new World(seed);
  const { random } = world;
  const violations: { invariant: Invariant; what: string }[] = [];
  const broken = (invariant: Invariant, what: string) => violations.push({ invariant, what });
  const seen: Record<string, number> = {};
  const count = (what: string) => seen[what] = (seen[what] ?? 0) + 1;

  const outages = () =>
    Array.from({ length: random.below(3) }, () => {
      const from = world.now + random.below(15_000);
      return {
        from,
        to: from + 300 + random.below(5_000),
        hangs: algorithm === "ours" && random.chance(0.5),
      };
    });
  const network = (latency: number) =>
    new Network(world, { latency, loss: 0.1, outages: outages(), late: LATE, timeout: TIMEOUT });
  const slow = random.chance(0.2);
  const wires = [network(20), network(slow ? 400 : 20)] as const;
  const machines = wires.map(() => new MachineClock(world, skew()));
  const engines = machines.map((clock) => memoryStore({ clock }));
  // The primary is replaced when it loses its memory: what is under way then arrives at the new one.
  const memory = new Memory(engines[0]!, machines[0]!);
  let lost: "nothing" | "everything" | "some" = "nothing";
  const bare = [memory.store, atomicSessionStore(engines[1]!, { remember: "10m" })];
  const crashes = algorithm === "ours" && random.chance(0.4);
  const outbox = crashes && random.chance(0.6)
    ? memoryStore({ clock: new MachineClock(world, 0) })
    : undefined;
  const history = new Map<string, string>();
  const dropped = new Set<string>();
  const stores = [
    watched(
      (plant.primary ?? same)(bare[0]!),
      (key, record) => history.set(`${key} ${record.version}`, JSON.stringify(record)),
    ),
    watched((plant.secondary ?? same)(bare[1]!), (key, record, before) => {
      count("shipped");
      // A record given back to a primary that forgot it begins a new history, on the copy.
      if (
        lost === "nothing" && strategy !== "sync" &&
        history.get(`${key} ${record.version}`) !== JSON.stringify(record)
      ) {
        broken(
          "an older save never wins",
          `${key}: the secondary took version ${record.version}, which never was`,
        );
      }
      // A record of the same version may take another one's place where two histories met.
      const least = lost === "nothing" && strategy !== "sync" ? record.version : record.version + 1;
      if (before !== undefined && before.version >= least) {
        broken("an older save never wins", `${key}: version ${record.version} replaced ${before.version}`);
      }
    }),
  ];
  const quiet = new Network(world, { latency: 2, loss: 0, outages: [], late: 0, timeout: TIMEOUT });
  quiet.calm = true;

  function skew(): number {
    return random.below(SKEW) - SKEW / 2;
  }

  function isolate(): Isolate {
    const clock = new MachineClock(world, skew());
    const touched = new Set<string>();
    if (algorithm === "naive") {
      const [primary, secondary] = engines.map((store, i) =>
        wires[i]!.reach(store.namespace("naive"), clock)
      );
      const naive = new NaiveReplication(primary!, secondary!, strategy, clock);
      const secondaryAway = { failures: 0 };
      return {
        clock,
        touched,
        store: undefined,
        secondaryAway,
        faults: { count: 0 },
        subject: naiveSubject(naive),
      };
    }
    const [primary, secondary] = planted(
      stores.map((store, i) => wires[i]!.reach(store, clock)) as [Side, Side],
      fault,
    );
    const secondaryAway = { failures: 0 };
    const faults = { count: 0 };
    const store = replicatedSessions(primary, secondary, {
      strategy,
      clock,
      random: () => random.next(),
      attemptTimeout: TIMEOUT,
      timeout: 6 * TIMEOUT,
      whenUnavailable,
      queueSize: QUEUE,
      parallel: 3,
      retryAttempts: 6,
      whenFull: random.pick(["wait", "reject", "inline"]),
      outbox: outbox && quiet.reach(outbox, clock),
      onDropped: ({ kind, key }) => {
        count("dropped");
        dropped.add(`${kind} ${key}`);
      },
      onOperation: ({ operation, side, outcome, pending }) => {
        if (/error|timeout|refused/.test(outcome)) faults.count++;
        if (operation === "compare" && outcome !== "ok") secondaryAway.failures++;
        if (operation === "repair" && outcome === "ok" && side === "primary") count("repairs of the primary");
        if (operation === "circuit" && outcome === "open") count("circuits opened");
        if (operation === "reserve") count("saves refused by a full queue");
        if (pending >= QUEUE * 0.75) count("moments with a full queue");
      },
    });
    return { clock, touched, store, secondaryAway, faults, subject: ourSubject(store, clock) };
  }

  const isolates = Array.from({ length: ISOLATES }, isolate);
  const bound = plant.bound ?? QUEUE;
  let overfull = false;
  world.watch = () => {
    if (overfull || !isolates.some(({ subject }) => subject.pending > bound)) return;
    overfull = true;
    broken("the queue stays in its bound", `more than ${bound} keys wait`);
  };

  const fates = Array.from({ length: SESSIONS }, (_, i): Fate => ({
    key: `key${i}`,
    user: `user${i % 3}`,
    idle: random.chance(0.25) ? SHORT : LONG,
    acked: new Map(),
    created: false,
    doomed: false,
    rotating: false,
    writtenAt: 0,
    excused: false,
  }));

  const dead = (at: Isolate) => !at.clock.alive;
  const pause = () => world.delay(random.below(random.chance(0.2) ? 3000 : 300));
  const somewhere = () => random.pick(isolates);

  /** One call of a client: its answer, or its error. */
  async function attempt<T>(
    fate: Fate,
    ask: (subject: Subject) => Promise<T>,
    at = somewhere(),
  ): Promise<{ answer: T } | { error: unknown }> {
    at.touched.add(fate.key);
    const answered = ask(at.subject).then((answer) => ({ answer }), (error) => ({ error }));
    // A client whose isolate died, or hangs, goes away.
    const gone = world.delay(8 * TIMEOUT).then(() => ({ error: "gone" }));
    const result = await Promise.race([answered, gone]);
    count("error" in result ? "calls that failed" : "calls that were answered");
    if ("error" in result) {
      const error = result.error as { queued?: boolean; code?: string } | "gone";
      if (error === "gone" && !dead(at) && algorithm === "ours") {
        throw new Error(`a call hangs: SEED=${seed}`);
      }
      if (error !== "gone" && error.code === "not-replicated" && error.queued === false) fate.excused = true;
      if (error instanceof TypeError || error instanceof RangeError) throw error;
    }
    return result;
  }

  async function read(fate: Fate): Promise<void> {
    const deletedBefore = fate.deleted !== undefined;
    const ackedBefore = new Map(fate.acked);
    const startedAt = world.now;
    const at = somewhere();
    const { failures } = at.secondaryAway;
    const result = await attempt(fate, (subject) => subject.read(fate.key), at);
    if ("error" in result || result.answer === undefined) return;
    const { values, degraded } = result.answer;
    if (degraded) count("degraded reads");
    // Both sides failed: the primary lost its memory, and the secondary did not answer. `"degrade"` promises
    // nothing then; the default does.
    const alone = at.secondaryAway.failures > failures;
    if (deletedBefore && lost !== "nothing" && alone && whenUnavailable === "degrade") {
      count("ended sessions read when both sides had failed");
    } else if (deletedBefore) {
      broken(
        "a deleted session is never readable again",
        `${fate.key} was read after its delete was answered`,
      );
    }
    if (startedAt > fate.writtenAt + fate.idle + SLACK) {
      broken(
        "no copy outlives the original",
        `${fate.key} was read ${startedAt - fate.writtenAt - fate.idle} ms late`,
      );
    }
    if (strategy === "async" && (degraded || lost !== "nothing")) return;
    // Records that the primary lost while the secondary was away may have been written again under the same
    // versions.
    if (lost === "some") return;
    for (const [field, value] of ackedBefore) {
      if (Number(values[`d:${field}`] ?? 0) < value) {
        broken(
          "an older save never wins",
          `${fate.key}: ${field} is ${values[`d:${field}`]} after ${value} was answered`,
        );
      }
    }
  }

  async function writer(fate: Fate, name: string): Promise<void> {
    let field = `${name}0`;
    const rounds = 2 + random.below(6);
    for (let value = 1; value <= rounds; value++) {
      await pause();
      const result = await attempt(fate, (subject) => subject.write(fate.key, field, value));
      fate.writtenAt = world.now;
      // A write without an answer may take effect later: its field is not written again.
      if ("error" in result) field = `${name}${value}`;
      else if (result.answer === "gone") return;
      else {
        fate.acked.set(field, value);
        if (algorithm === "ours" && strategy !== "async" && !fate.doomed) await both(fate, field, value);
      }
      if (random.chance(0.5)) await read(fate);
    }
  }

  /**
   * At the moment of its answer, an acknowledged write is on both sides, unless something ended the session.
   */
  async function both(fate: Fate, field: string, value: number): Promise<void> {
    const copies = await Promise.all(bare.map((store) => store.load(fate.key)));
    copies.forEach((copy, i) => {
      if (copy.state === "live" && Number(copy.record.values[`d:${field}`] ?? 0) >= value) return;
      if (copy.state === "ended" || fate.doomed || fate.rotating || (i === 0 && loses) || lost === "some") {
        return;
      }
      broken(
        "an acknowledged write is never lost",
        `${fate.key}: ${field} = ${value} is not on side ${i} when it is answered`,
      );
    });
  }

  async function client(fate: Fate): Promise<void> {
    await pause();
    const result = await attempt(fate, (subject) => subject.create(fate.key, fate.user, fate.idle));
    fate.writtenAt = world.now;
    fate.created = "answer" in result && result.answer;
    if (!fate.created) return;
    const writers = algorithm === "naive" ? [writer(fate, "a")] : [writer(fate, "a"), writer(fate, "b")];
    const deleter = algorithm === "naive" ? Promise.all(writers) : pause().then(pause).then(pause);
    const ends = random.chance(0.6);
    await Promise.all([
      ...writers,
      deleter.then(async () => {
        if (!ends) return;
        const rotates = fate.rotating = algorithm === "ours" && random.chance(0.3);
        fate.doomed ||= !rotates;
        const result = await attempt(
          fate,
          (subject) => subject.delete(fate.key, rotates ? "rotate" : "ignore"),
        );
        if ("answer" in result) fate.deleted = world.now;
        else if ((result.error as { code?: string }).code === "backend-unavailable") {
          // A rotation that was refused ended nothing.
          fate.rotating = false;
          return count("rotations that were refused");
        }
        // Whether one whose isolate died had begun to end anything is seen when there is peace.
        const unanswered = "error" in result &&
          (result.error === "gone" || (result.error as { code?: string }).code === "timeout");
        if (rotates && unanswered) count("rotations without an answer");
        else {
          fate.doomed = true;
          count("error" in result ? "deletes that were reported" : "deletes that were answered");
        }
        for (let i = 0; i < 3; i++) {
          await pause();
          await read(fate);
        }
      }),
    ]);
    for (let i = 0; i < 2; i++) {
      await pause();
      await read(fate);
    }
  }

  const revoked = new Set<string>();
  async function admin(): Promise<void> {
    if (algorithm === "naive" || !random.chance(0.3)) return;
    await world.delay(random.below(8000));
    const user = `user${random.below(3)}`;
    const at = somewhere();
    revoked.add(user);
    for (const fate of fates) if (fate.user === user) at.touched.add(fate.key);
    const revoke = at.store!.index.revoke(user, { remember: ABSOLUTE }).then(
      (known) => known.entries,
      () => [],
    );
    for (const entry of await Promise.race([revoke, world.delay(8 * TIMEOUT).then(() => [])])) {
      const fate = fates.find(({ key }) => key === entry.key)!;
      fate.doomed = true;
      const result = await attempt(fate, (subject) => subject.delete(entry.key, "tombstone"));
      if ("answer" in result) fate.deleted = world.now;
    }
    count("users revoked");
  }

  async function reaper(): Promise<void> {
    if (!crashes) return;
    await world.delay(1000 + random.below(8000));
    const i = random.below(isolates.length);
    const victim = isolates[i]!;
    if (victim.subject.pending > 0) count("crashes with a queue");
    victim.clock.alive = false;
    if (outbox === undefined) {
      for (const fate of fates) if (victim.touched.has(fate.key)) fate.excused = true;
    }
    isolates[i] = isolate();
  }

  /** The primary goes away, and comes back empty or as it was some time ago. */
  async function loss(): Promise<void> {
    if (!loses) return;
    for (let times = 1 + random.below(2); times > 0; times--) {
      await world.delay(random.below(4000));
      const snapshot = random.chance(0.6) ? await memory.snapshot() : undefined;
      await world.delay(500 + random.below(5000));
      const away = random.below(2000);
      wires[0]!.cut({ from: world.now, to: world.now + away, hangs: random.chance(0.5) });
      await world.delay(away / 2);
      if (snapshot === undefined) memory.forget();
      else await memory.restore(snapshot);
      lost = snapshot !== undefined || lost === "some" ? "some" : "everything";
      count(snapshot === undefined ? "times the primary came back empty" : "times the primary was set back");
    }
  }

  await world.until(Promise.all([...fates.map(client), admin(), reaper(), loss()]));

  // Peace.
  for (const wire of wires) wire.calm = true;
  await world.pass(65_000);
  for (const fate of fates) if (fate.rotating) fate.doomed ||= await begun(fate.key);
  if (outbox !== undefined) {
    await world.until(
      isolates[0]!.store!.recover({ timeout: "10m" }).then(({ found }) => {
        seen["found in the outbox"] = found;
      }),
    );
  }
  await world.until(Promise.all(isolates.map(({ subject }) => subject.settle())));
  if (algorithm === "ours") {
    // Sessions that were not read since become equal with the next read.
    const { store, faults } = isolates[0]!;
    const contact = async (read: () => Promise<unknown>): Promise<void> => {
      for (let before = -1; before !== faults.count;) {
        before = faults.count;
        await read().catch(() => faults.count++);
        if (before !== faults.count) await world.delay(500);
      }
    };
    const keys = fates.map(({ key }) => () => store!.load(key));
    const users = ["user0", "user1", "user2"].map((user) => () => store!.index.read(user));
    // One after the other, as repairs need places in the queue; again, if one was given up on this network.
    for (const read of [...keys, ...users]) {
      for (let before = -1; before !== (seen["dropped"] ?? 0);) {
        before = seen["dropped"] ?? 0;
        await world.until(contact(read));
        await world.until(isolates[0]!.subject.settle());
      }
    }
  }
  for (const { subject } of isolates) {
    if (subject.pending > 0) {
      broken("both sides converge at quiescence", `${subject.pending} keys still wait`);
    }
  }
  if (algorithm === "ours") await judge();
  else await judgeNaive();
  if (outbox !== undefined) {
    // Marks of writes of unknown outcome stay until nothing can come late any more.
    await world.pass(700_000);
    const left = await outbox.namespace("replication").listPage();
    if (left.keys.length > 0) {
      broken("both sides converge at quiescence", `${left.keys.length} marks are left`);
    }
  }
  seen["effects later than their callers waited"] = wires[0].lateEffects + wires[1].lateEffects;
  await world.until(Promise.all(isolates.map(({ store }) => store?.close())));
  return { violations, seen, events: world.events };

  /**
   * Whether the end of a session was begun: it must end then, while a rotation that only asked changed
   * nothing.
   */
  async function begun(key: string): Promise<boolean> {
    const copies = await Promise.all(bare.map((store) => store.load(key)));
    if (copies.some((copy) => copy.state === "ended" && copy.why !== "expired")) return true;
    const marks = outbox?.namespace("replication");
    if (marks === undefined) return false;
    const { keys } = await marks.listPage({ limit: 100 });
    return (await marks.getMany<{ readonly id: string; readonly end?: unknown }>(keys))
      .some((mark) => mark?.id === key && mark.end !== undefined);
  }

  async function judge(): Promise<void> {
    for (const fate of fates) {
      const { key } = fate;
      const [first, second] = await Promise.all([stores[0]!.load(key), stores[1]!.load(key)]);
      const excused = fate.excused || dropped.has(`session ${key}`);
      if (fate.doomed && (fate.deleted !== undefined || !excused)) {
        for (const [i, copy] of [first, second].entries()) {
          if (copy.state === "live") {
            broken("a deleted session is never readable again", `${key} lives on side ${i}`);
          }
        }
      }
      if (first.state === "live") {
        if (second.state === "live") {
          if (sessionExpiry(second.record) > sessionExpiry(first.record)) {
            broken("no copy outlives the original", `${key}: the copy lives longer`);
          }
          if (JSON.stringify(sorted(first.record)) !== JSON.stringify(sorted(second.record))) {
            broken("both sides converge at quiescence", `${key} differs`);
          }
        } else broken("both sides converge at quiescence", `${key} is on the primary alone`);
      } else if (second.state === "live") {
        const outlives = first.state === "ended" && first.why === "expired";
        broken(
          outlives ? "no copy outlives the original" : "both sides converge at quiescence",
          `${key} is on the secondary alone`,
        );
      }
      const kept = lost === "nothing" || (lost === "everything" && strategy !== "async");
      if (fate.created && !fate.doomed && kept) {
        for (const [field, value] of fate.acked) {
          const there = first.state === "live" ? Number(first.record.values[`d:${field}`] ?? 0) : undefined;
          if (there === undefined ? fate.idle === LONG : there < value) {
            broken("an acknowledged write is never lost", `${key}: ${field} = ${value} is ${there}`);
          }
        }
      }
    }
    for (const user of ["user0", "user1", "user2"]) {
      const [first, second] = await Promise.all(bare.map((store) => store.index.read(user)));
      const mine = fates.filter((fate) => fate.user === user);
      if (first!.epoch !== second!.epoch) {
        broken("both sides converge at quiescence", `${user}: epochs ${first!.epoch} and ${second!.epoch}`);
      }
      for (const { key, created } of mine) {
        if (!created || !(await bare[0]!.exists(key))) continue;
        for (const [i, { entries }] of [first!, second!].entries()) {
          if (entries.some((entry) => entry.key === key) || (lost !== "nothing" && strategy === "async")) {
            continue;
          }
          broken("both sides converge at quiescence", `${key} is not listed on side ${i}`);
        }
      }
    }
    await world.pass(ABSOLUTE);
    for (const { key } of fates) {
      if (!(await Promise.all(stores.map((store) => store.exists(key)))).includes(true)) continue;
      broken("no copy outlives the original", `${key} is there for ever`);
    }
  }

  async function judgeNaive(): Promise<void> {
    for (const fate of fates) {
      const [first, second] = await Promise.all(
        engines.map((store) => store.namespace("naive").get<Record<string, string>>(fate.key)),
      );
      if (fate.deleted !== undefined && (first ?? second) !== undefined) {
        broken("a deleted session is never readable again", `${fate.key} is still there`);
      }
      if (JSON.stringify(first) !== JSON.stringify(second)) {
        broken("both sides converge at quiescence", `${fate.key} differs`);
      }
      if (first === undefined && second !== undefined && fate.idle === SHORT) {
        broken("no copy outlives the original", `${fate.key} is on the secondary alone`);
      }
      if (!fate.created || fate.doomed || fate.idle === SHORT) continue;
      for (const [field, value] of fate.acked) {
        if (Number(first?.[`d:${field}`] ?? 0) >= value) continue;
        broken("an acknowledged write is never lost", `${fate.key}: ${field}`);
      }
    }
  }
}

/** The record with its fields in one order. */
function sorted(record: SessionRecord): unknown {
  const { values, ...fields } = record;
  return [Object.entries(fields).sort(), Object.entries(values).sort()];
}

function same<T>(store: T): T {
  return store;
}

// deno-lint-ignore no-explicit-any
const TRACE: any = (globalThis as any).TRACE;

/** A store that shows every record it stores, at the moment it does. */
function watched(
  store: Atomic<IndexedSessionStore>,
  stored: (key: string, record: SessionRecord, before: SessionRecord | undefined) => void,
): Atomic<IndexedSessionStore> {
  return {
    consistency: store.consistency,
    index: store.index,
    load: (key) => store.load(key),
    exists: (key) => store.exists(key),
    delete: (key, options) => store.delete(key, options),
    async save(key, change) {
      const before = await store.load(key);
      const saved = await store.save(key, change);
      TRACE?.(key, change, saved);
      if (saved.state === "saved") {
        stored(key, saved.record, before.state === "live" ? before.record : undefined);
      }
      return saved;
    },
  };
}

function ourSubject(store: ReplicatedSessions, clock: MachineClock): Subject {
  return {
    async create(key, user, idle) {
      const handle = `handle-${key}`;
      const added = await store.index.add(user, { handle, key, endsAt: clock.now() + ABSOLUTE });
      if (added.state !== "added") return false;
      const saved = await store.save(key, {
        type: "create",
        handle,
        idleTimeout: idle,
        absoluteTimeout: ABSOLUTE,
        schemaVersion: 1,
        values: {},
        userId: user,
        bornAt: added.bornAt,
      });
      return saved.state === "saved";
    },
    async write(key, field, value) {
      const saved = await store.save(key, { type: "update", set: { [`d:${field}`]: String(value) } });
      return saved.state === "saved" ? "saved" : "gone";
    },
    async read(key) {
      const found = await store.load(key);
      if (found.state !== "live") return undefined;
      return { values: found.record.values, degraded: found.degraded ?? false };
    },
    async delete(key, how) {
      await store.delete(key, how === "rotate" ? { why: "rotated" } : { why: "revoked", absent: how });
    },
    settle: async () => void await store.flush({ timeout: "10m" }),
    get pending() {
      return store.pending;
    },
  };
}

function naiveSubject(naive: NaiveReplication): Subject {
  const idle = new Map<string, number>();
  return {
    async create(key, _user, lifetime) {
      idle.set(key, lifetime);
      await naive.save(key, {}, lifetime);
      return true;
    },
    async write(key, field, value) {
      const data = await naive.load(key);
      if (data === undefined) return "gone";
      await naive.save(key, { ...data, [`d:${field}`]: String(value) }, idle.get(key) ?? LONG);
      return "saved";
    },
    async read(key) {
      const values = await naive.load(key);
      return values && { values, degraded: false };
    },
    delete: (key) => naive.delete(key),
    settle: () => naive.idle(),
    get pending() {
      return naive.pending;
    },
  };
}

export type { AtomicStore };
