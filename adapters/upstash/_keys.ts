/** The keys of a store in Redis: prefixes that never meet, and the slots of a cluster. */
import { checkPrefix } from "../../src/store/prefix.ts";
import type { Cluster } from "./_cluster.ts";

/**
 * The part of a key that a Redis Cluster hashes: the text between the first brace and the next closing one,
 * unless that is empty.
 */
const HASH_TAG = /^[^{]*\{[^}]+\}/;

/**
 * The keys of one prefix.
 *
 * A prefix ends at the first colon: colons and slashes inside it are escaped, so no prefix is the beginning
 * of another, and `tenant-1` never meets `tenant-10`. Braces in keys are escaped too: a key has a hash tag
 * only when its prefix has one.
 */
export class KeySpace {
  /** The beginning of every key. */
  readonly head: string;
  /** Whether one script may take many keys: there is no cluster, or the prefix has a hash tag. */
  readonly oneSlot: boolean;

  /** Takes the option `prefix`, and how a cluster places keys where the server may be one. */
  constructor(prefix: unknown = "holdfast", readonly cluster?: Cluster | undefined) {
    this.head = `${checkedPrefix(prefix).replace(/[%/:]/g, encodeURIComponent)}:`;
    this.oneSlot = !cluster || HASH_TAG.test(this.head);
  }

  /** The cluster, where a listing goes from node to node. */
  get listed(): Cluster | undefined {
    return this.oneSlot ? undefined : this.cluster;
  }

  /** A key, or the beginning of keys, as Redis has it. */
  full(key: string): string {
    return this.head + escapeBraces(key);
  }

  /**
   * The key of what is remembered of one call, in the slot of `full`. No key of a store begins with two
   * slashes.
   */
  memory(full: string, id: string): string {
    return this.oneSlot ? `${this.head}//${id}` : `${this.head}//{${full}}${id}`;
  }

  /**
   * A key that a cluster routes to `slot`, `null` where one node has everything; with what follows the head
   * in it.
   */
  route(slot: number | null): { readonly key: string; readonly tail: number } {
    const tail = slot === null ? "" : `//{${this.cluster!.tag(slot)}}`;
    return { key: this.head + tail, tail: tail.length };
  }
}

/** Escapes character by character, so the beginning of a key stays the beginning of its escaped form. */
function escapeBraces(key: string): string {
  return /[%{}]/.test(key) ? key.replace(/[%{}]/g, encodeURIComponent) : key;
}

/** The key of a store, without the head. */
export function unescapeBraces(key: string): string {
  return key.includes("%") ? key.replace(/%(?:25|7B|7D)/g, decodeURIComponent) : key;
}

function checkedPrefix(given: unknown): string {
  const prefix = checkPrefix(given);
  if (/[{}]/.test(prefix) && !HASH_TAG.test(prefix)) {
    throw new TypeError(
      "Cannot make a store as braces in 'prefix' must be a hash tag: for example \"{holdfast}\"",
    );
  }
  return prefix;
}
