import type { AtomicEngine } from "./engine.ts";

/**
 * The key under which an engine of our own has itself for the keys of one namespace, as their callers know
 * them: an engine in this process keeps a map per namespace, and a key that is put together at each call
 * would cost more than the look.
 */
export const LOCAL: unique symbol = Symbol("holdfast.local");

/** An engine for the keys of one namespace. */
export type LocalEngine = Required<
  Pick<AtomicEngine, "get" | "set" | "delete" | "touch" | "transact" | "watch">
>;

/** An engine that may have itself per namespace. */
export interface LocallyKeyed {
  readonly [LOCAL]?: (path: string) => LocalEngine;
}
