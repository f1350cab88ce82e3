import type { SessionRecord } from "../session/session_record.ts";
import type { SessionCreate, SessionFound, SessionSaved, SessionStore } from "../session/session_store.ts";
import { check, equal } from "./_check.ts";
import type { Law, StoreSubject } from "./law.ts";

/** A session that lives for an hour unless told otherwise. */
function made(options: Partial<SessionCreate> = {}): SessionCreate {
  return {
    type: "create",
    handle: "handle",
    idleTimeout: 600_000,
    absoluteTimeout: 3_600_000,
    schemaVersion: 1,
    values: { "d:a": "1", "d:b": "2" },
    ...options,
  };
}

async function create(store: SessionStore, options: Partial<SessionCreate> = {}): Promise<SessionRecord> {
  const saved = await store.save("key", made(options));
  check(saved.state === "saved", "create is saved");
  return saved.record;
}

async function load(store: SessionStore): Promise<SessionRecord> {
  const found = await store.load("key");
  check(found.state === "live", "it lives");
  return found.record;
}

/** The end of a session, without its time. */
function ending(found: SessionFound | SessionSaved): unknown {
  return found.state === "ended" ? { state: found.state, why: found.why } : found;
}

/**
 * The promises of every {@linkcode SessionStore} whose `consistency` is `atomic`; `index` has a law of its
 * own.
 *
 * @category Laws
 */
export const sessionStoreLaw: readonly Law<StoreSubject<SessionStore>>[] = [
  {
    name: "a session that was never made is unknown, cannot be changed and is not deleted",
    async run({ store }) {
      equal(await store.load("key"), { state: "unknown" }, "load");
      equal(await store.exists("key"), false, "exists");
      equal(await store.save("key", { type: "update", set: { "d:a": "1" } }), { state: "unknown" }, "update");
      equal(await store.delete("key", { why: "revoked" }), undefined, "delete");
      // A store of copies may leave a tombstone, as a copy may be on its way.
      check((await store.load("key")).state !== "live", "nothing came to life");
    },
  },
  {
    name: "the tombstone of a rotated session names its continuation, also after it is ended again",
    async run({ store }) {
      await create(store);
      await store.delete("key", { why: "rotated", next: "next" });
      const loaded = async () => {
        const { ago: _, ...end } = { ago: 0, ...await store.load("key") };
        return end;
      };
      const ended = { state: "ended", why: "rotated", next: "next" };
      equal(await loaded(), ended, "load");
      equal(await store.delete("key", { why: "revoked" }), undefined, "a logout that comes late");
      equal(await loaded(), ended, "load again");
    },
  },
  {
    name: "a created session is loaded unchanged, with the store's own times",
    async run({ store }) {
      const record = await create(store, { userId: "ada", authenticatedAt: "now", schemaVersion: 7 });
      equal(await store.load("key"), { state: "live", record }, "load");
      equal(await store.exists("key"), true, "exists");
      const at = record.createdAt;
      equal(record, {
        handle: "handle",
        version: 1,
        createdAt: at,
        touchedAt: at,
        checkedAt: at,
        bornAt: at,
        idleTimeout: 600_000,
        endsAt: at + 3_600_000,
        schemaVersion: 7,
        userId: "ada",
        authenticatedAt: at,
        values: { "d:a": "1", "d:b": "2" },
      }, "the record");
    },
  },
  {
    name:
      "creating a session again with the same handle answers the same; with another handle the key is taken",
    async run({ store }) {
      const record = await create(store);
      equal(await store.save("key", made()), { state: "saved", record }, "the same");
      equal((await store.save("key", made({ handle: "other" }))).state, "ended", "another");
      equal(await load(store), record, "unchanged");
    },
  },
  {
    name: "an update merges its values into the record and increments its version",
    async run({ store }) {
      await create(store);
      const saved = await store.save("key", { type: "update", set: { "d:c": "3" }, unset: ["d:a"] });
      check(saved.state === "saved", "saved");
      equal(saved.record.values, { "d:b": "2", "d:c": "3" }, "values");
      equal(saved.record.version, 2, "version");
      equal(await load(store), saved.record, "load");
    },
  },
  {
    name: "parallel updates of different values lose nothing",
    async run({ store }) {
      await create(store);
      const names = Array.from({ length: 20 }, (_, i) => `d:n${i}`);
      await Promise.all(names.map((name) => store.save("key", { type: "update", set: { [name]: name } })));
      const { values, version } = await load(store);
      equal(names.filter((name) => values[name] !== name), [], "lost");
      check(version >= 21, "each made it a version newer");
    },
  },
  {
    name: "an update bound to a version takes effect at that version alone",
    async run({ store }) {
      const { version } = await create(store);
      const saved = await Promise.all(
        ["x", "y", "z"].map((text) =>
          store.save("key", { type: "update", set: { "d:a": text }, ifVersion: version })
        ),
      );
      equal(saved.map(({ state }) => state).sort(), ["conflict", "conflict", "saved"], "states");
      const record = await load(store);
      for (const answer of saved) check("record" in answer, "each learns what is there");
      equal(record.version, version + 1, "one write");
    },
  },
  {
    name: "of concurrent deletes one returns the session, and it never comes back",
    async run({ store }) {
      const record = await create(store);
      const taken = await Promise.all(
        Array.from({ length: 10 }, () => store.delete("key", { why: "rotated" })),
      );
      equal(taken.filter((session) => session !== undefined), [record], "taken");
      equal(ending(await store.load("key")), { state: "ended", why: "rotated" }, "load");
      equal(await store.exists("key"), false, "exists");
      equal(
        ending(await store.save("key", { type: "update", set: { "d:a": "9" } })),
        { state: "ended", why: "rotated" },
        "update",
      );
      equal((await store.save("key", made())).state, "ended", "create");
      equal(
        (await store.save("key", { type: "put", record: { ...record, version: 99 } })).state,
        "ended",
        "put",
      );
      equal(await store.exists("key"), false, "still gone");
    },
  },
  {
    name: "an ended session answers how long ago it ended, and the key that continues it",
    async run({ store, wait }) {
      await create(store);
      await store.delete("key", { why: "rotated", next: "another" });
      await wait(60);
      const found = [
        await store.load("key"),
        await store.save("key", { type: "update", set: { "d:a": "9" } }),
      ];
      for (const end of found) {
        check(end.state === "ended" && end.next === "another", "what continues it");
        check(end.ago !== undefined && end.ago >= 50 && end.ago < 60_000, "how long ago");
      }
      await store.delete("key", { why: "revoked" });
      const last = await store.load("key");
      check(last.state === "ended" && last.ago! >= 50, "the first end counts");
    },
  },
  {
    name: "a tombstone written before its session refuses the session",
    async run({ store }) {
      equal(await store.delete("key", { why: "revoked", absent: "tombstone" }), undefined, "delete");
      equal(ending(await store.save("key", made())), { state: "ended", why: "revoked" }, "create");
    },
  },
  {
    name: "a session ends when it was idle for too long, and an update keeps it alive",
    async run({ store, wait }) {
      await create(store, { idleTimeout: 500 });
      for (let i = 0; i < 3; i++) {
        await wait(200);
        equal((await store.save("key", { type: "update" })).state, "saved", "touch");
      }
      equal(await store.exists("key"), true, "alive");
      for (let i = 0; i < 3; i++) await wait(200);
      equal(await store.exists("key"), false, "exists");
      equal(await store.load("key"), { state: "ended", why: "expired" }, "load");
      equal((await store.save("key", { type: "update" })).state, "ended", "update");
      equal(await store.delete("key", { why: "revoked" }), undefined, "delete");
    },
  },
  {
    name: "a session ends at its absolute timeout although it is touched, and so does its continuation",
    async run({ store, wait }) {
      const { createdAt, endsAt } = await create(store, { absoluteTimeout: 500 });
      const continues = { createdAt, endsAt };
      equal((await store.save("next", made({ continues }))).state, "saved", "continued");
      for (let i = 0; i < 3; i++) {
        await wait(180);
        for (const key of ["key", "next"]) await store.save(key, { type: "update" });
      }
      equal([await store.exists("key"), await store.exists("next")], [false, false], "exists");
      equal((await store.save("late", made({ continues }))).state, "ended", "too late to continue");
    },
  },
  {
    name: "a put stores a newer copy unchanged, with its remaining time",
    async run({ store, wait }) {
      const record = await create(store, { idleTimeout: 700 });
      const newer = { ...record, version: 5, values: { "d:a": "5" } };
      const put = (record: SessionRecord) => store.save("key", { type: "put", record });
      equal((await put(newer)).state, "saved", "newer");
      equal(await load(store), newer, "as it is");
      equal(await put({ ...newer, version: 4 }), { state: "conflict", record: newer }, "older");
      equal((await put(newer)).state, "conflict", "the same");
      equal((await store.save("copy", { type: "put", record: newer })).state, "saved", "elsewhere");
      await wait(200);
      equal((await store.save("later", { type: "put", record: newer })).state, "saved", "later");
      for (let i = 0; i < 3; i++) await wait(180);
      equal(
        await Promise.all(["key", "copy", "later"].map((key) => store.exists(key))),
        [false, false, false],
        "none outlives the original",
      );
      equal((await store.save("dead", { type: "put", record: newer })).state, "ended", "a dead one");
    },
  },
  {
    name: "a put bound to a version stores the copy over that version alone",
    async run({ store }) {
      const record = await create(store);
      const put = (version: number, ifVersion: number) =>
        store.save("key", { type: "put", record: { ...record, version }, ifVersion });
      equal(await put(9, record.version + 1), { state: "conflict", record }, "another version");
      equal((await put(9, record.version)).state, "saved", "that version");
      equal((await load(store)).version, 9, "stored");
      equal((await put(9, 9)).state, "saved", "another record of that version");
      equal((await put(5, 9)).state, "conflict", "an older one");
      const nowhere = { type: "put", record, ifVersion: record.version } as const;
      equal(await store.save("nowhere", nowhere), { state: "unknown" }, "where nothing is");
      equal(await store.exists("nowhere"), false, "and nothing was made");
    },
  },
  {
    name:
      "an update by an earlier version of the application is refused, and the schema version never goes down",
    async run({ store }) {
      await create(store, { schemaVersion: 2 });
      const set = { "d:a": "9" };
      const refused = await store.save("key", { type: "update", set, writerVersion: 1, schemaVersion: 1 });
      check(
        refused.state === "conflict" && refused.record.schemaVersion === 2,
        "a conflict, with the record",
      );
      equal((await load(store)).values["d:a"], "1", "unchanged");
      await store.save("key", { type: "update", schemaVersion: 1 });
      equal((await load(store)).schemaVersion, 2, "not lowered");
      await store.save("key", { type: "update", set, writerVersion: 2, schemaVersion: 3 });
      equal((await load(store)).schemaVersion, 3, "raised");
    },
  },
  {
    name: "a returned record is the caller's own copy",
    async run({ store }) {
      await create(store);
      const record = await load(store);
      (record.values as Record<string, string>)["d:a"] = "changed";
      equal((await load(store)).values["d:a"], "1", "unchanged");
    },
  },
];
