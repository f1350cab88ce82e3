/**
 * The cursors of listings: where SCAN is, on which node of a cluster, and what it has found beyond the page
 * that was asked for.
 */

/** A place in a listing. */
export interface ListCursor {
  /** The cursor of SCAN; `"0"` begins. */
  readonly scan: string;
  /** A slot of the node that is listed; `null` where one node has every key. */
  readonly slot: number | null;
  /** Whether nothing comes after `left`. */
  readonly done: boolean;
  /** Keys that were found and not given out yet. */
  readonly left: readonly string[];
}

const LAST_SLOT = 16_383;

/**
 * Reads a cursor of an earlier page; none begins.
 *
 * @throws {TypeError} when it is not one of ours
 */
export function parseCursor(cursor: string | undefined, oneNode: boolean): ListCursor {
  if (cursor === undefined) return { scan: "0", slot: oneNode ? null : 0, done: false, left: [] };
  let parts: unknown;
  try {
    parts = JSON.parse(cursor);
  } catch {
    // refused below
  }
  if (Array.isArray(parts)) {
    const [scan, slot, ...left] = parts;
    if (isScan(scan) && isSlot(slot, oneNode) && left.every((key) => typeof key === "string")) {
      const done = scan === "";
      if (!done || left.length > 0) return { scan, slot, done, left };
    }
  }
  throw new TypeError("Cannot list as 'cursor' must come from an earlier page of the same store");
}

function isScan(scan: unknown): scan is string {
  return typeof scan === "string" && /^\d{0,20}$/.test(scan);
}

function isSlot(slot: unknown, oneNode: boolean): slot is number | null {
  if (oneNode) return slot === null;
  return Number.isInteger(slot) && (slot as number) >= 0 && (slot as number) <= LAST_SLOT;
}

/**
 * The place after a reply of SCAN. Masters are listed one after the other, by the least slot of each; when
 * slots move between nodes meanwhile, a key may be missed or shown twice, as with any SCAN of a cluster.
 */
export function nextCursor({ slot }: ListCursor, scan: string, slots: string): ListCursor {
  if (scan !== "0") return { scan, slot, done: false, left: [] };
  const later = slot === null || slots === ""
    ? []
    : slots.split(",").map(Number).filter((other) => other > slot);
  if (later.length === 0) return { scan, slot, done: true, left: [] };
  return { scan, slot: Math.min(...later), done: false, left: [] };
}

/** The text of a place, or `undefined` at the end. */
export function serializeCursor({ scan, slot, done, left }: ListCursor): string | undefined {
  if (done && left.length === 0) return undefined;
  return JSON.stringify([done ? "" : scan, slot, ...left]);
}
