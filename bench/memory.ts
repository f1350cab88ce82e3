/**
 * The memory engine beside its peers, in one run: `deno task bench`. Ratios count, not the figures: each
 * round runs all contenders one after the other, and the median of the rounds is printed.
 */
import { createKeyv } from "keyv";
import { LRUCache } from "lru-cache";
import { createStorage } from "unstorage";
import memoryDriver from "unstorage/drivers/memory";
import { Keyv } from "keyv";
import { memoryStore } from "@holdfast/edge";

const KEYS = Array.from({ length: 10_000 }, (_, i) => `user:${i}`);
const VALUE = { id: 17, name: "Ada" };
const TEXT = "a short text";
const TTL = 60_000;
const ROUNDS = 7;

interface Contender {
  readonly name: string;
  readonly ops: number;
  set(key: string): unknown;
  get(key: string): unknown;
}

const raw = new Map<string, unknown>();
const awaited = new Map<string, unknown>();
const lru = new LRUCache<string, typeof VALUE>({ max: 100_000, ttl: TTL });
const keyv = new Keyv({ ttl: TTL });
const keyvRaw = createKeyv(new Map());
const unstorage = createStorage({ driver: memoryDriver() });
const store = memoryStore();
const plain = memoryStore();

// deno-lint-ignore require-await
const awaitedSet = async (key: string) => void awaited.set(key, TEXT);
// deno-lint-ignore require-await
const awaitedGet = async (key: string) => awaited.get(key);

const contenders: readonly Contender[] = [
  {
    name: "raw Map, awaited",
    ops: 500_000,
    set: awaitedSet,
    get: awaitedGet,
  },
  { name: "lru-cache, ttl (sync)", ops: 500_000, set: (k) => lru.set(k, VALUE), get: (k) => lru.get(k) },
  { name: "keyv, JSON + ttl", ops: 100_000, set: (k) => keyv.set(k, VALUE, TTL), get: (k) => keyv.get(k) },
  { name: "keyv on a Map", ops: 200_000, set: (k) => keyvRaw.set(k, VALUE, TTL), get: (k) => keyvRaw.get(k) },
  {
    name: "unstorage, ttl",
    ops: 100_000,
    set: (k) => unstorage.setItem(k, VALUE, { ttl: TTL / 1000 }),
    get: (k) => unstorage.getItem(k),
  },
  {
    name: "holdfast, JSON + ttl",
    ops: 500_000,
    set: (k) => store.set(k, VALUE, { ttl: TTL }),
    get: (k) => store.get(k),
  },
  { name: "holdfast, text, no ttl", ops: 500_000, set: (k) => plain.set(k, TEXT), get: (k) => plain.get(k) },
];

/** Nanoseconds per operation. */
async function measure(op: (key: string) => unknown, ops: number): Promise<number> {
  const began = performance.now();
  for (let i = 0; i < ops; i++) await op(KEYS[i % KEYS.length]!);
  return (performance.now() - began) * 1e6 / ops;
}

function sync(op: (key: string) => unknown): number {
  const ops = 2_000_000;
  const began = performance.now();
  for (let i = 0; i < ops; i++) op(KEYS[i % KEYS.length]!);
  return (performance.now() - began) * 1e6 / ops;
}

const median = (times: number[]) => times.toSorted((a, b) => a - b)[times.length >> 1]!;
const times = new Map<string, { set: number[]; get: number[] }>();
const note = (name: string, set: number, get: number) => {
  const known = times.get(name) ?? { set: [], get: [] };
  known.set.push(set);
  known.get.push(get);
  times.set(name, known);
};
for (let round = 0; round <= ROUNDS; round++) {
  const set = sync((k) => raw.set(k, TEXT));
  if (round > 0) note("raw Map (sync)", set, sync((k) => raw.get(k)));
  for (const { name, ops, set, get } of contenders) {
    const result = [await measure(set, ops), await measure(get, ops)] as const;
    if (round > 0) note(name, ...result); // the first round warms up
  }
}

const print = (...cells: (string | number)[]) => {
  const [name, ...rest] = cells;
  // deno-lint-ignore no-console
  console.log(
    String(name).padEnd(28),
    ...rest.map((cell) => (typeof cell === "number" ? cell.toFixed(2) : cell).padStart(11)),
  );
};
const nanos = (name: string) => {
  const { set, get } = times.get(name)!;
  return { set: median(set), get: median(get) };
};
print("", "set Mops/s", "get Mops/s", "set ns", "get ns");
for (const name of times.keys()) {
  const { set, get } = nanos(name);
  print(name, 1000 / set, 1000 / get, set, get);
}

const ratio = (ours: string, peer: string) => {
  const [a, b] = [nanos(ours), nanos(peer)];
  print(`${ours} ÷ ${peer}`.padEnd(52), b.set / a.set, b.get / a.get);
};
print("\nhow many times faster".padEnd(53), "set", "get");
ratio("holdfast, JSON + ttl", "keyv, JSON + ttl");
ratio("holdfast, JSON + ttl", "unstorage, ttl");
ratio("holdfast, text, no ttl", "raw Map, awaited");

/** Bytes an entry costs beside its own key and value. */
async function bytesPerEntry(
  fill: (keys: readonly string[], values: readonly string[]) => Promise<unknown>,
): Promise<number> {
  const count = 200_000;
  // Made by the same steps as the engine makes its own, so that the difference is the engine's alone.
  const keys = Array.from({ length: count }, (_, i) => `key:${i}`);
  const values = Array.from({ length: count }, (_, i) => `value:${i}`);
  for (const key of keys) awaited.get(key);
  const gc = (globalThis as { gc?: () => void }).gc!;
  gc();
  const before = Deno.memoryUsage().heapUsed;
  const kept = await fill(keys, values);
  gc();
  const used = (Deno.memoryUsage().heapUsed - before) / count;
  return kept === undefined ? NaN : used;
}

const overhead = await bytesPerEntry(async (keys, values) => {
  const store = memoryStore({ maxEntries: 1_000_000 });
  for (const [i, key] of keys.entries()) await store.set(key, values[i], { ttl: "1h" });
  await store.get(keys[0]!);
  return store;
});
print("\nbytes per entry, beside the key", overhead.toFixed(0));

// The engine does not expose its size; its Map does, when we create it.
const maps: Map<unknown, unknown>[] = [];
const PlainMap = globalThis.Map;
globalThis.Map = class<K, V> extends PlainMap<K, V> {
  constructor() {
    super();
    maps.push(this);
  }
} as MapConstructor;
const shortLived = memoryStore({ maxEntries: 1_000_000 });
globalThis.Map = PlainMap;
for (let i = 0; i < 200_000; i++) await shortLived.set(`short:${i}`, TEXT, { ttl: 5 });
const atOnce = Math.max(...maps.map(({ size }) => size));
await new Promise((resolve) => setTimeout(resolve, 10));
for (let i = 0; i < 100; i++) await shortLived.set(`later:${i}`, TEXT, { ttl: 5 });
print(
  "entries after 200,000 writes with a 5 ms ttl",
  `${atOnce} at once,`,
  `${Math.max(...maps.map(({ size }) => size))} a hundred writes later`,
);
Deno.exit(0); // unstorage keeps a timer per entry
