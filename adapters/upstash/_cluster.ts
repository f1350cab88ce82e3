/**
 * How a Redis Cluster places keys, and how it is listed. A store that never meets one does not carry this.
 */
import { listSlots } from "./generated/_engine.ts";

/** What a store must know of clusters. */
export interface Cluster {
  /** The passage of the script `list` that answers the slots. */
  readonly slots: string;
  /** A text that hashes to the slot. */
  tag(slot: number): string;
}

/** Redis Cluster. */
export const redisCluster: Cluster = { slots: listSlots, tag: tagOf };

const tags = new Map<number, string>();

/**
 * The least number whose decimal digits hash to the slot. There is one within some hundred thousand for each
 * of 16,384 slots.
 */
function tagOf(slot: number): string {
  for (let n = 0; !tags.has(slot); n++) {
    const digits = String(n);
    if (slotOf(digits) === slot) tags.set(slot, digits);
  }
  return tags.get(slot)!;
}

/** CRC-16/XMODEM of ASCII text, modulo the number of slots: how a Redis Cluster places a key. */
function slotOf(text: string): number {
  let crc = 0;
  for (let i = 0; i < text.length; i++) {
    crc ^= text.charCodeAt(i) << 8;
    for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1;
  }
  return crc & 0x3fff;
}
