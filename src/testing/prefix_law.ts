import type { KeyValueStore } from "../store/key_value_store.ts";
import { check, equal, rejection } from "./_check.ts";
import type { Law } from "./law.ts";

/**
 * The subject of {@linkcode prefixLaw}.
 *
 * @category Laws
 */
export interface PrefixSubject {
  /** Opens a store with that prefix on the one backend of this subject, which is empty at first. */
  open(prefix: string): KeyValueStore;
  /**
   * Whether its stores can list and clear.
   * @default {true}
   */
  readonly lists?: boolean | undefined;
}

/** Prefixes of which each might be taken for the beginning of another, with and without a key. */
const PREFIXES: readonly string[] = [
  "tenant-1",
  "tenant-10",
  "tenant-1:",
  "tenant-1%3A",
  "tenant-1:0",
  "tenant",
  "/tenant-1",
  ":tenant-1",
  "*",
];

/** Keys of which each might be taken for the rest of another prefix. */
const KEYS: readonly string[] = ["key", "0", ":0", "0:key", "-1:key", "/shard 0 of 4"];

async function keysOf(store: KeyValueStore): Promise<string[]> {
  const keys: string[] = [];
  for await (const key of store.list()) keys.push(key);
  return keys.sort();
}

/**
 * The promise of an engine's prefix: stores with different prefixes never meet.
 *
 * @category Laws
 */
export const prefixLaw: readonly Law<PrefixSubject>[] = [
  {
    name: "stores with different prefixes never read, list, delete or clear each other's keys",
    async run({ open, lists = true }) {
      const stores = PREFIXES.map((prefix) => ({ prefix, store: open(prefix) }));
      for (const { prefix, store } of stores) {
        for (const key of KEYS) await store.set(key, [prefix, key]);
        await store.namespace("0").set("key", [prefix, "0", "key"]);
      }
      const intact = async ({ prefix, store }: typeof stores[number]) => {
        const values = await store.getMany(KEYS);
        for (const [i, key] of KEYS.entries()) equal(values[i], [prefix, key], "get");
        equal(await store.namespace("0").get("key"), [prefix, "0", "key"], "get in a namespace");
        if (lists) equal(await keysOf(store), [...KEYS].sort(), "list");
      };
      for (const one of stores) await intact(one);
      while (stores.length > 0) {
        const { store } = stores.pop()!;
        if (lists) equal((await store.clear()).deleted, KEYS.length + 1, "clear");
        else equal(await store.deleteMany(KEYS), KEYS.length, "deleteMany");
        for (const other of stores) await intact(other);
      }
    },
  },
  {
    name: "the same prefix opens the same keys",
    async run({ open }) {
      for (const prefix of PREFIXES) await open(prefix).set("key", prefix);
      for (const prefix of PREFIXES) equal(await open(prefix).get("key"), prefix, "get");
    },
  },
  {
    name: "a prefix that is too long or not well-formed is refused when the store is made",
    async run({ open }) {
      for (const prefix of ["x".repeat(10_000), "\ud800", 7 as never]) {
        const error = await rejection(async () => await open(prefix).set("key", 1), "a bad prefix");
        check(error instanceof TypeError || error instanceof RangeError, "it is a TypeError or RangeError");
        let made = true;
        try {
          open(prefix);
        } catch {
          made = false;
        }
        check(!made, "the store is not made");
      }
    },
  },
];
