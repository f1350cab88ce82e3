/** The settings that an outbox and its drainers share. */
import type { Clock } from "../clock.ts";
import type { AtomicStore } from "../store/atomic_store.ts";

/** The options of an outbox with everything decided; times in milliseconds. */
export interface OutboxSettings {
  readonly store: AtomicStore;
  readonly buckets: number;
  readonly attempts: number;
  readonly delay: number;
  readonly maxDelay: number;
  readonly lease: number;
  readonly retention: number;
  readonly remember: number;
  readonly clock: Clock;
}

/** An entry takes at most 115 bytes, so a full bucket stays below the 64 KiB of Deno KV. */
export const MOST_IN_BUCKET = 500;

/** The key of an item's record. */
export function itemKey(id: string): string {
  return `m:${id}`;
}

/** The key of a bucket's record. */
export function bucketKey(n: number): string {
  return `b:${n}`;
}

/** The number of an item's bucket. All characters count, or buckets would fill unevenly. */
export function bucketOf(id: string, buckets: number): number {
  let n = 0;
  for (let i = 0; i < id.length; i++) n = (n * 31 + id.charCodeAt(i)) % 2 ** 31;
  return n % buckets;
}
