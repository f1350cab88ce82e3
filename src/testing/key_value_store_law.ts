import { HoldfastError } from "../errors.ts";
import type { KeyValueStore } from "../store/key_value_store.ts";
import { check, equal, rejection, within } from "./_check.ts";
import type { Law, StoreSubject } from "./law.ts";

const VALUES: readonly unknown[] = [
  "text",
  "",
  "123",
  "null",
  "true",
  '{"a":1}',
  '"q"',
  "1e3",
  "9007199254740993",
  "\u{1F600} \u0000",
  "\ud800",
  "a\udfffb",
  "\u0001\ud800",
  ["\ud800", { "\ud800": "\udc00" }],
  0,
  -1,
  1.5,
  true,
  false,
  null,
  [],
  {},
  [1, [2]],
  { a: { b: [null, "x"] } },
  { "": 1, "a:b": 2 },
  new Uint8Array(),
  new Uint8Array([0, 255, 128, 10]),
];

const KEYS: readonly string[] = [
  "plain",
  "a:b",
  "a/b",
  "/",
  ":",
  "//",
  "/a/:b",
  "*",
  "a?c",
  "[abc]",
  "back\\slash",
  "{tag}",
  "per%cent",
  "sp ace",
  "\u00e9",
  "\u{1F600}",
  "\u0000",
  "__proto__",
  "constructor",
  ".",
  "..",
];

class Point {
  x = 1;
}

/** Values that JSON cannot hold: stored, each would come back as something else, or not at all. */
const REFUSED: readonly unknown[] = [
  new Map([[1, 2]]),
  new Set([1]),
  NaN,
  Infinity,
  Promise.resolve(1),
  new Error("x"),
  /x/,
  new ArrayBuffer(1),
  new Float32Array(1),
  new Date(NaN),
  new Point(),
  () => {},
  Symbol("x"),
  1n,
];

async function all(keys: AsyncIterable<string>): Promise<string[]> {
  const found: string[] = [];
  for await (const key of keys) found.push(key);
  return found.sort();
}

/**
 * The promises of every {@linkcode KeyValueStore}.
 *
 * @category Laws
 */
export const keyValueStoreLaw: readonly Law<StoreSubject<KeyValueStore>>[] = [
  {
    name: "a missing key reads as undefined, does not exist and cannot be deleted",
    async run({ store }) {
      equal(await store.get("missing"), undefined, "get");
      equal(await store.exists("missing"), false, "exists");
      equal(await store.delete("missing"), false, "delete");
      equal(await store.touch("missing", "1h"), false, "touch");
      equal(await store.getMany(["missing"]), [undefined], "getMany");
    },
  },
  {
    name: "every value comes back as it was stored, falsy ones too",
    async run({ store }) {
      for (const value of VALUES) {
        await store.set("value", value);
        equal(await store.get("value"), value, "get");
        equal(await store.exists("value"), true, "exists");
      }
    },
  },
  {
    name: "a stored value shares nothing with the caller's",
    async run({ store }) {
      const value = { list: [1] };
      await store.set("value", value);
      value.list.push(2);
      const first = await store.get<typeof value>("value");
      first!.list.push(3);
      equal(await store.get("value"), { list: [1] }, "get");
    },
  },
  {
    name: "every string is a key, and no two strings are the same key",
    async run({ store }) {
      for (const key of KEYS) await store.set(key, key);
      for (const key of KEYS) equal(await store.get(key), key, "get");
      equal(await all(store.list()), [...KEYS].sort(), "list");
    },
  },
  {
    name: "delete() answers whether the key existed",
    async run({ store }) {
      await store.set("key", 0);
      equal(await store.delete("key"), true, "the first time");
      equal(await store.delete("key"), false, "the second time");
      equal(await store.get("key"), undefined, "get");
    },
  },
  {
    name: "a value expires at its deadline, for every method",
    async run({ store, wait, clock }) {
      const ttl = await within(300, clock, async (ttl) => {
        await store.set("short", 1, { ttl });
        await store.set("long", 2, { ttl: "1h" });
        await store.setMany([["one", 3], ["another", 4]], { ttl });
        equal(await store.getMany(["short", "one", "another"]), [1, 3, 4], "before");
      });
      await wait(ttl);
      equal(await store.getMany(["one", "another"]), [undefined, undefined], "those of setMany()");
      equal(await store.get("short"), undefined, "get");
      equal(await store.exists("short"), false, "exists");
      equal(await store.getMany(["short", "long"]), [undefined, 2], "getMany");
      equal(await store.touch("short", "1h"), false, "touch");
      equal(await all(store.list()), ["long"], "list");
      equal(await store.delete("short"), false, "delete");
    },
  },
  {
    name: "touch() sets a new deadline, and set() without ttl removes it",
    async run({ store, wait, clock }) {
      const ttl = await within(250, clock, async (ttl) => {
        await store.set("touched", 1, { ttl });
        await store.set("kept", 1, { ttl });
        await store.set("kept", 2);
        equal(await store.touch("touched", "1h"), true, "touch");
      });
      await wait(ttl + 50);
      equal(await store.getMany(["touched", "kept"]), [1, 2], "getMany");
    },
  },
  {
    name: "getMany() answers in the order of the keys",
    async run({ store }) {
      const keys = Array.from({ length: 250 }, (_, i) => `key-${i}`);
      await store.setMany(keys.map((key, i) => [key, i]));
      equal(await store.getMany([...keys, "no", keys[0]!]), [...keys.keys(), undefined, 0], "getMany");
      equal(await store.deleteMany([...keys, "no"]), 250, "deleteMany");
      equal(await all(store.list()), [], "list");
      equal(await store.getMany([]), [], "getMany of nothing");
    },
  },
  {
    name: "list() answers the keys with a prefix, page by page",
    async run({ store }) {
      for (let i = 0; i < 25; i++) await store.set(`a-${i}`, i);
      await store.set("b", 1);
      equal((await all(store.list({ prefix: "a-" }))).length, 25, "list");
      const seen = new Set<string>();
      let cursor: string | undefined;
      do {
        const page = await store.listPage({ prefix: "a-", limit: 10, cursor });
        check(page.keys.length <= 10, "a page holds at most what was asked");
        for (const key of page.keys) seen.add(key);
        cursor = page.cursor;
      } while (cursor !== undefined);
      equal(seen.size, 25, "pages");
    },
  },
  {
    name: "list() neither loses nor repeats a key under concurrent inserts and deletes",
    async run({ store, listsTwice = false }) {
      const named = (offset: number) =>
        Array.from({ length: 30 }, (_, i) => `k-${String(3 * i + offset).padStart(3, "0")}`);
      const [staying, leaving, coming] = [named(0), named(1), named(2)];
      await store.setMany([...staying, ...leaving].map((key) => [key, 1] as const));
      const seen: string[] = [];
      let cursor: string | undefined;
      let last: string | undefined;
      do {
        // While a page is read, keys leave and come before it, in it and behind it, and one that was seen is
        // written anew.
        const left = [...leaving.splice(0, 2), ...leaving.splice(-2), ...(last === undefined ? [] : [last])];
        const came = [...coming.splice(0, 2), ...coming.splice(-2)];
        const [page] = await Promise.all([
          store.listPage({ prefix: "k-", limit: 7, cursor }),
          store.deleteMany(left),
          store.setMany(came.map((key) => [key, 2] as const)),
        ]);
        if (last !== undefined) await store.set(last, 3);
        last = page.keys.find((key) => !staying.includes(key)) ?? last;
        seen.push(...page.keys);
        cursor = page.cursor;
      } while (cursor !== undefined);
      const lost = staying.filter((key) => !seen.includes(key));
      equal(lost, [], "keys that were there throughout and are in no page");
      if (!listsTwice) equal(seen.length, new Set(seen).size, "keys of all pages, and how many differ");
    },
  },
  {
    name: "namespaces share no key with each other or with the store around them",
    async run({ store }) {
      const places: [KeyValueStore, string][] = [
        [store, "a:b:c"],
        [store, "/a/:c"],
        [store.namespace("a"), "b:c"],
        [store.namespace("a:b"), "c"],
        [store.namespace("a").namespace("b"), "c"],
        [store.namespace("a"), "c"],
        [store.namespace("a/b"), "c"],
        [store.namespace("a%2Fb"), "c"],
        [store.namespace("ab"), "c"],
        [store.namespace("A"), "c"],
      ];
      for (const [i, [namespace, key]] of places.entries()) await namespace.set(key, i);
      for (const [i, [namespace, key]] of places.entries()) equal(await namespace.get(key), i, `place ${i}`);
    },
  },
  {
    name: "clear() empties a namespace and those inside it, and nothing else",
    async run({ store }) {
      const room = store.namespace("room");
      const beside = [store, store.namespace("room2"), store.namespace("roo"), store.namespace("Room")];
      for (const other of beside) await other.set("key", 1);
      for (let i = 0; i < 30; i++) await room.set(`key-${i}`, i);
      await room.namespace("inner").set("key", 1);
      equal(await room.clear({ limit: 10 }), { deleted: 10, done: false }, "the first ten");
      equal(await room.clear(), { deleted: 21, done: true }, "the rest");
      equal(await all(room.list()), [], "list");
      equal(await room.namespace("inner").get("key"), undefined, "inside");
      for (const other of beside) equal(await other.get("key"), 1, "beside");
    },
  },
  {
    name: "misuse is refused before anything happens",
    async run({ store }) {
      for (const key of ["", "\ud800", "x".repeat(100_000)]) {
        const error = await rejection(() => store.set(key, 1), "a bad key");
        check(
          error instanceof TypeError || error instanceof RangeError,
          "a bad key is a TypeError or RangeError",
        );
      }
      for (const ttl of [0, -1, NaN, Infinity]) {
        check(
          await rejection(() => store.set("key", 1, { ttl }), "a bad ttl") instanceof RangeError,
          "a bad ttl is a RangeError",
        );
      }
      equal(await store.get("key"), undefined, "nothing was stored");
    },
  },
  {
    name: "a value that JSON cannot hold is a TypeError, at the top, in an array and in an object",
    async run({ store }) {
      const cycle: Record<string, unknown> = {};
      cycle.self = cycle;
      for (const value of [...REFUSED, cycle]) {
        for (const held of [value, [value], { a: { b: value } }]) {
          const calls = [() => store.set("key", held), () => store.setMany([["other", 1], ["key", held]])];
          for (const call of calls) {
            check(await rejection(call, "a bad value") instanceof TypeError, "a bad value is a TypeError");
          }
        }
      }
      for (const value of [undefined, [undefined], { bytes: new Uint8Array(1) }]) {
        const error = await rejection(() => store.set("key", value), "a bad value");
        check(error instanceof TypeError, "undefined and bytes inside a value are a TypeError");
      }
      equal(await store.getMany(["key", "other"]), [undefined, undefined], "nothing was stored");
      await store.set("key", { a: undefined, b: 1 });
      check(!("a" in (await store.get<object>("key"))!), "a property that is undefined is left out");
    },
  },
  {
    name: "an invalid cursor, or one of another list, is a TypeError",
    async run({ store }) {
      await store.setMany(Array.from({ length: 12 }, (_, i) => [`a-${i}`, i] as const));
      const { cursor } = await store.listPage({ prefix: "a-", limit: 5 });
      for (const bad of ["", "garbage", "0", "null", "[0]", 7 as never, cursor! + "x", cursor!.slice(1)]) {
        const error = await rejection(() => store.listPage({ prefix: "a-", cursor: bad }), "a bad cursor");
        check(error instanceof TypeError, "a bad cursor is a TypeError");
      }
      const calls = [
        () => store.listPage({ prefix: "a", cursor }),
        () => store.namespace("a-").listPage({ prefix: "a-", cursor }),
      ];
      for (const call of calls) {
        check(await rejection(call, "another list") instanceof TypeError, "of another list too");
      }
      const { keys: first } = await store.listPage({ prefix: "a-", limit: 5 });
      const rest: string[] = [];
      for (let next = cursor; next !== undefined;) {
        const page = await store.listPage({ prefix: "a-", cursor: next });
        rest.push(...page.keys);
        next = page.cursor;
      }
      equal(new Set([...first, ...rest]).size, 12, "the cursor itself goes on");
    },
  },
  {
    name: "an unknown option is a TypeError, and nothing is changed",
    async run({ store }) {
      const bad = { tll: "1m" } as never;
      const calls: Record<string, () => unknown> = {
        set: () => store.set("key", 1, bad),
        setMany: () => store.setMany([["key", 1]], bad),
        get: () => store.get("key", bad),
        getMany: () => store.getMany(["key"], bad),
        exists: () => store.exists("key", bad),
        delete: () => store.delete("key", bad),
        deleteMany: () => store.deleteMany(["key"], bad),
        touch: () => store.touch("key", "1m", bad),
        list: async () => await all(store.list(bad)),
        listPage: () => store.listPage(bad),
        clear: () => store.clear(bad),
      };
      for (const [name, call] of Object.entries(calls)) {
        const error = await rejection(async () => await call(), name);
        check(error instanceof TypeError && error.message.includes("tll"), `${name} names the option`);
      }
      await store.set("key", 1, { ttl: undefined, signal: undefined });
      equal(await store.get("key", { schema: undefined }), 1, "undefined is no value of an option");
    },
  },
  {
    name: "deleteMany() counts a key once although it is named twice",
    async run({ store }) {
      await store.set("key", 1);
      equal(await store.deleteMany(["key", "no", "key", "key"]), 1, "deleteMany");
    },
  },
  {
    name: "a value that does not match its schema is a typed error",
    async run({ store }) {
      await store.set("key", "text");
      const schema = {
        "~standard": {
          validate: (value: unknown) =>
            typeof value === "number" ? { value } : { issues: [{ message: "no number" }] },
        },
      };
      const error = await rejection(() => store.get("key", { schema }), "a mismatch");
      check(
        error instanceof HoldfastError && error.code === "schema-mismatch",
        "its code is schema-mismatch",
      );
      await store.set("key", 7);
      equal(await store.get("key", { schema }), 7, "a match");
    },
  },
  {
    name: "an aborted call rejects with the signal's reason and changes nothing",
    async run({ store }) {
      const reason = new Error("enough");
      const signal = AbortSignal.abort(reason);
      const calls: Record<string, () => Promise<unknown>> = {
        set: () => store.set("key", 1, { signal }),
        setMany: () => store.setMany([["key", 1]], { signal }),
        get: () => store.get("key", { signal }),
        getMany: () => store.getMany(["key"], { signal }),
        exists: () => store.exists("key", { signal }),
        delete: () => store.delete("key", { signal }),
        deleteMany: () => store.deleteMany(["key"], { signal }),
        touch: () => store.touch("key", "1m", { signal }),
        list: () => store.listPage({ signal }),
        clear: () => store.clear({ signal }),
      };
      for (const [name, call] of Object.entries(calls)) {
        check(await rejection(call, name) === reason, `${name} rejects with the reason`);
      }
      equal(await store.get("key"), undefined, "nothing was stored");
    },
  },
];
