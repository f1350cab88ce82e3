/** The records of an object on a real SQLite: what it keeps in memory never differs from the table. */
import { DatabaseSync } from "node:sqlite";
import { type DurableStorage, ObjectRecords } from "../../adapters/durable_objects/_records.ts";
import { OUR_TRANSITIONS } from "../../adapters/durable_objects/_transitions.ts";
import type { Fields, Transition } from "../../src/store/transition.ts";
import { assert, assertEquals, assertThrows } from "../support/assert.ts";

/** A transition that does what none may do: it changes the record that it was handed. */
const careless: Transition = {
  name: "test.careless",
  apply(record) {
    if (record) (record as Record<string, string>).v = "changed by mistake";
    return { output: {} };
  },
};

/** A storage of SQLite: `reads` are its statements that look for a record, `fail` makes its next write fail. */
function objectStorage() {
  const database = new DatabaseSync(":memory:");
  const state = { reads: 0, fail: false, alarm: 0 };
  const storage: DurableStorage = {
    sql: {
      exec(query, ...bindings) {
        if (/^SELECT[^(]*\brecord\b/.test(query)) state.reads++;
        if (state.fail && /^\s*(INSERT|UPDATE|DELETE)/.test(query)) {
          state.fail = false;
          throw new Error("disk full");
        }
        const rows = database.prepare(query).all(...bindings) as Record<string, unknown>[];
        return { toArray: () => rows };
      },
    },
    setAlarm(time) {
      state.alarm = time;
      return Promise.resolve();
    },
    deleteAlarm: () => Promise.resolve(),
    deleteAll() {
      database.exec("DROP TABLE IF EXISTS records");
      return Promise.resolve();
    },
  };
  return { storage, state };
}

function objectRecords() {
  const clock = { now: 1_000_000 };
  const { storage, state } = objectStorage();
  const transitions = new Map([...OUR_TRANSITIONS, careless].map((known) => [known.name, known]));
  const fresh = () => new ObjectRecords(storage, (name) => transitions.get(name), () => clock.now);
  const records = fresh();
  const transact = (name: string, key: string, input: Fields = {}): Fields => {
    const done = records.transact(name, key, input);
    if ("refused" in done) throw new Error(done.refused);
    return done.output;
  };
  return { records, transact, fresh, clock, state };
}

Deno.test("ObjectRecords: a record that was just read or written is not read again, another one is", () => {
  const { transact, state } = objectRecords();
  transact("value.set", "a", { v: "1" });
  transact("value.set", "b", { v: "2" });
  state.reads = 0;
  const reads = ["b", "b", "a", "a", "b"].map((key) => {
    assertEquals(transact("value.get", key), { v: key === "a" ? "1" : "2" });
    return state.reads;
  });
  assertEquals(reads, [0, 0, 1, 1, 2]);
});

Deno.test("ObjectRecords: a long record is not kept in memory", () => {
  const { transact, state } = objectRecords();
  const v = "x".repeat(10_000);
  transact("value.set", "a", { v });
  for (let i = 1; i <= 3; i++) {
    assertEquals(transact("value.get", "a"), { v });
    assertEquals(state.reads, i);
  }
});

Deno.test("ObjectRecords: a kept record ends at its deadline, and with its purge", () => {
  const { transact, records, clock } = objectRecords();
  transact("value.set", "a", { v: "1", ttl: "1000" });
  clock.now += 999;
  assertEquals(transact("value.get", "a"), { v: "1" });
  clock.now += 1;
  assertEquals(transact("value.get", "a"), {});
  records.purge();
  assertEquals(transact("value.get", "a"), {});
  transact("value.set", "a", { v: "2" });
  assertEquals(transact("value.get", "a"), { v: "2" });
});

Deno.test("ObjectRecords: the alarm of a record that ends in a thousand years is one that the runtime takes", () => {
  const { transact, records, clock, state } = objectRecords();
  const year = 365 * 86_400_000;
  transact("value.set", "a", { v: "1", ttl: String(1000 * year) });
  for (let i = 0; i < 3; i++) {
    assert(state.alarm > Date.now() && state.alarm <= Date.now() + year, "within a year");
    clock.now += year;
    state.alarm = 0;
    records.purge();
    assertEquals(transact("value.get", "a"), { v: "1" });
  }
});

Deno.test("ObjectRecords: a transition that changes the record it was handed changes nothing that is stored", () => {
  const { transact } = objectRecords();
  transact("value.set", "a", { v: "1" });
  transact("test.careless", "a");
  assertEquals(transact("value.get", "a"), { v: "1" });
});

Deno.test("ObjectRecords: a write that fails leaves what was there", () => {
  const { transact, state } = objectRecords();
  transact("value.set", "a", { v: "1" });
  for (const [name, input] of [["value.set", { v: "2" }], ["value.take", {}]] as const) {
    state.fail = true;
    assertThrows(() => transact(name, "a", input), Error);
    assertEquals(transact("value.get", "a"), { v: "1" });
  }
});

Deno.test("ObjectRecords: any sequence of calls answers as an object that remembers nothing", () => {
  const { records, fresh, clock } = objectRecords();
  let seed = 7;
  const random = (below: number) => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31) % below;
  const keys = ["a", "b", "c"];
  let live = 0;
  for (let i = 0; i < 3000; i++) {
    const key = keys[random(3)]!;
    clock.now += random(40);
    const ttl: Fields = random(2) === 0 ? {} : { ttl: String(1 + random(200)) };
    switch (random(7)) {
      case 0:
        records.transact("value.set", key, { v: random(20) === 0 ? "x".repeat(5000) : String(i), ...ttl });
        break;
      case 1:
        records.transact("value.increment", key, { by: "1", ...ttl });
        break;
      case 2:
        records.transact("value.take", key, {});
        break;
      case 3:
        records.setMany(
          [[key, `many ${i}`], [keys[random(3)]!, "both"]],
          ttl.ttl ? Number(ttl.ttl) : undefined,
        );
        break;
      case 4:
        if (random(4) === 0) records.deleteMany([key]);
        break;
      case 5:
        if (random(4) === 0) records.purge();
        break;
      case 6:
        records.transact("value.touch", key, { ttl: String(1 + random(200)) });
    }
    const kept = records.transact("value.get", key, {});
    assertEquals(kept, fresh().transact("value.get", key, {}));
    if ("output" in kept && kept.output.v !== undefined) live++;
  }
  assert(live > 500, `only ${live} looks found a record`);
});
