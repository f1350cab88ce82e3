/**
 * Sequential specifications of what stores, locks and idempotency promise. Times to live are longer than any
 * history.
 */
import type { Model } from "./linearizability.ts";

/** A value, or none. */
type Value = number | null;

/** A call on one key, and its result. */
export type RegisterIn =
  | { readonly call: "set"; readonly value: number }
  | { readonly call: "get" | "delete" }
  | { readonly call: "compareAndSet"; readonly expected: Value; readonly value: number };
export type RegisterOut = { readonly value: Value } | { readonly done: boolean; readonly current?: Value };

/** A key-value store, of one key. */
export const register: Model<Value, RegisterIn, RegisterOut> = {
  initial: null,
  step(state, input, output) {
    const out = output as { value?: Value; done?: boolean; current?: Value } | undefined;
    switch (input.call) {
      case "set":
        return input.value;
      case "get":
        return out === undefined || out.value === state ? state : undefined;
      case "delete":
        return out === undefined || out.done === (state !== null) ? null : undefined;
      case "compareAndSet": {
        const matches = state === input.expected;
        if (out && (out.done !== matches || (!matches && out.current !== state))) return undefined;
        return matches ? input.value : state;
      }
    }
  },
};

/** An increment, or a read. */
export type CounterIn = { readonly call: "increment"; readonly by: number } | { readonly call: "get" };
export type CounterOut = { readonly value: number };

/** A counter. */
export const counter: Model<number, CounterIn, CounterOut> = {
  initial: 0,
  step(state, input, output) {
    const next = input.call === "increment" ? state + input.by : state;
    return output === undefined || output.value === next ? next : undefined;
  },
};

/** An acquisition, by a number of its own, or the release of one. */
export type LockIn = { readonly call: "acquire" | "release"; readonly grant: number };
export type LockOut = { readonly fence: number | null } | { readonly released: boolean };

/** The acquisition that holds the lock, and the highest fencing token that is known. */
interface LockState {
  readonly holder: number | null;
  readonly fence: number;
}

/** A lock of one holder, whose fencing tokens strictly increase. */
export const lock: Model<LockState, LockIn, LockOut> = {
  initial: { holder: null, fence: 0 },
  step(state, { call, grant }, output) {
    const out = output as { fence?: number | null; released?: boolean } | undefined;
    if (call === "acquire") {
      if (out === undefined) return state.holder === null ? { ...state, holder: grant } : state;
      if (out.fence === null) return state.holder === null ? undefined : state;
      if (state.holder !== null || out.fence! <= state.fence) return undefined;
      return { holder: grant, fence: out.fence! };
    }
    const held = state.holder === grant;
    if (out && out.released !== held) return undefined;
    return held ? { ...state, holder: null } : state;
  },
};

/** A call for one key; claims and results have the number of their `begin`. */
export type IdempotencyIn = { readonly call: "begin" | "complete" | "abandon"; readonly claim: number };
export type IdempotencyOut = { readonly state: "new" | "in-progress" | "ok" | "lost" } | {
  readonly result: number;
};

/** The claim that is held, or the result. */
interface IdempotencyState {
  readonly claim: number | null;
  readonly result: number | null;
}

/** One key of idempotency: one claim at a time, one result for good. */
export const idempotency: Model<IdempotencyState, IdempotencyIn, IdempotencyOut> = {
  initial: { claim: null, result: null },
  step(record, { call, claim }, output) {
    const out = output as { state?: string; result?: number } | undefined;
    const mine = record.claim === claim && record.result === null;
    if (call === "begin") {
      if (record.result !== null) {
        return out === undefined || out.result === record.result ? record : undefined;
      }
      if (record.claim !== null) return out === undefined || out.state === "in-progress" ? record : undefined;
      return out === undefined || out.state === "new" ? { ...record, claim } : undefined;
    }
    const free = record.claim === null && record.result === null;
    // A claim whose record is gone may still be completed, and given up once more.
    const fits = mine || free || (call === "complete" && record.result === claim);
    if (out?.state === "ok" && !fits) return undefined;
    if (out?.state === "lost" && fits) return undefined;
    if (!mine && !free) return record;
    return call === "complete" ? { claim: null, result: claim } : { claim: null, result: null };
  },
};
