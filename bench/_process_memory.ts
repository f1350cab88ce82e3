/** The memory store beside its peers: keys in order and at random, three sizes; prints JSON. */
// deno-lint-ignore-file no-console
import process from "node:process";
import { Keyv } from "keyv";
import { LRUCache } from "lru-cache";
import { memoryStore } from "@holdfast/edge";
import { type Contender, interleaved, type Samples } from "./_rounds.ts";

const rounds = Number(process.env.ROUNDS ?? 5);
const ops = Number(process.env.OPS ?? 100_000);
const sizes = (process.env.SIZES ?? "1000,100000,1000000").split(",").map(Number);

const VALUE = { id: 17, name: "Ada" };
const TEXT = "a short text";
const TTL = 60_000;
const TTL_OPTIONS = { ttl: TTL };

/** The same indices for every contender: in the order of insertion, or shuffled by a fixed sequence. */
function indices(size: number, random: boolean): Uint32Array {
  const order = Uint32Array.from({ length: size }, (_, i) => i);
  if (!random) return order;
  let state = 0x2545f491;
  for (let i = size - 1; i > 0; i--) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    const j = state % (i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

function contenders(size: number, random: boolean): { set: Contender[]; get: Contender[] } {
  const keys = Array.from({ length: size }, (_, i) => `user:${i}`);
  const order = indices(size, random);
  const each = (call: (key: string) => unknown) => {
    let at = 0; // goes on where the round before ended, so that all keys are visited
    return async (ops: number) => {
      for (let i = 0; i < ops; i++) {
        await call(keys[order[at]!]!);
        if (++at === size) at = 0;
      }
    };
  };
  const json = memoryStore({ maxEntries: 2_000_000 });
  const text = memoryStore({ maxEntries: 2_000_000 });
  const map = new Map<string, string>();
  const keyv = new Keyv({ ttl: TTL });
  const lru = new LRUCache<string, typeof VALUE>({ max: 2_000_000, ttl: TTL });
  // deno-lint-ignore require-await
  const mapSet = async (key: string) => void map.set(key, TEXT);
  // deno-lint-ignore require-await
  const mapGet = async (key: string) => map.get(key);
  return {
    set: [
      { name: "holdfast, JSON and ttl", run: each((key) => json.set(key, VALUE, TTL_OPTIONS)) },
      { name: "keyv, JSON and ttl", run: each((key) => keyv.set(key, VALUE, TTL)) },
      { name: "holdfast, text", run: each((key) => text.set(key, TEXT)) },
      { name: "Map, awaited", run: each(mapSet) },
      { name: "lru-cache, ttl, no copy", run: each((key) => lru.set(key, VALUE)) },
    ],
    get: [
      { name: "holdfast, JSON and ttl", run: each((key) => json.get(key)) },
      { name: "keyv, JSON and ttl", run: each((key) => keyv.get(key)) },
      { name: "holdfast, text", run: each((key) => text.get(key)) },
      { name: "Map, awaited", run: each(mapGet) },
      { name: "lru-cache, ttl, no copy", run: each((key) => lru.get(key)) },
    ],
  };
}

const samples: Samples = {};
for (const size of sizes) {
  for (const random of [false, true]) {
    const { set, get } = contenders(size, random);
    for (const { run } of set) await run(size); // all keys are there before the rounds
    for (const [what, list] of [["set", set], ["get", get]] as const) {
      const measured = await interleaved(list, { rounds, ops: Math.min(ops, Math.max(size, 20_000)) });
      for (const [name, times] of Object.entries(measured)) {
        samples[`${what}, ${size} keys, ${random ? "random" : "in order"}: ${name}`] = times;
      }
    }
  }
}

const gc = (globalThis as { gc?: () => void }).gc;
/** Bytes an entry costs beside its own key and value, which exist before. */
async function bytesPerEntry(ttl: number | undefined): Promise<number> {
  const count = 200_000;
  const keys = Array.from({ length: count }, (_, i) => `key:${i}`);
  const values = Array.from({ length: count }, (_, i) => `value:${i}`);
  const known = new Map<string, string>();
  for (const key of keys) known.get(key);
  gc!();
  const before = process.memoryUsage();
  const store = memoryStore({ maxEntries: 1_000_000 });
  for (let i = 0; i < count; i++) await store.set(keys[i]!, values[i], { ttl });
  gc!();
  const after = process.memoryUsage();
  await store.get(keys[0]!);
  return (after.heapUsed + after.external - before.heapUsed - before.external) / count;
}

/**
 * The longest processor time that one call takes while a store grows to a million records, in milliseconds: what the collector
 * and a map that doubles take from a single request.
 */
async function longestPause(set: (key: string) => unknown): Promise<number> {
  const keys = Array.from({ length: 1_000_000 }, (_, i) => `key:${i}`);
  gc!();
  let longest = 0;
  for (const key of keys) {
    const began = process.cpuUsage();
    await set(key);
    const { user, system } = process.cpuUsage(began);
    longest = Math.max(longest, (user + system) / 1000);
  }
  return longest;
}

if (gc !== undefined) {
  samples["bytes per entry, text"] = [await bytesPerEntry(undefined)];
  samples["bytes per entry, text and ttl"] = [await bytesPerEntry(3_600_000)];
  for (let i = 0; i < 3; i++) {
    const store = memoryStore({ maxEntries: 2_000_000 });
    const map = new Map<string, string>();
    (samples["longest pause at 1000000, ms: holdfast"] ??= []).push(
      await longestPause((key) => store.set(key, TEXT)),
    );
    (samples["longest pause at 1000000, ms: Map"] ??= []).push(
      await longestPause((key) => void map.set(key, TEXT)),
    );
  }
}
console.log("\n" + JSON.stringify(samples));
process.exit(0);
