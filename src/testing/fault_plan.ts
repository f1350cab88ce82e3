/** Plans of faults: the calls of a store or a mailer that fail, and in what way. */
import { checkArray } from "../validate.ts";

/**
 * A fault of a call.
 *
 * - `lost-request`: the call never arrived. A write was certainly not done, but the caller cannot know.
 * - `lost-reply`: the call was done and its reply was lost.
 * - `unauthorized`: the backend refuses the credentials. A misconfiguration: it is always thrown.
 * - `rate-limited`: the backend refuses for now, with a `retryAfter` of one second.
 *
 * @category Testing
 */
export type Fault = "lost-request" | "lost-reply" | "unauthorized" | "rate-limited";

/**
 * A call, for a plan that chooses.
 *
 * @category Testing
 */
export interface PlannedCall {
  /** The method, or the transition that runs: `get`, `lock.acquire`, `send`. */
  readonly operation: string;
  /** The number of calls before this one. */
  readonly index: number;
}

/**
 * The faults of the next calls, in order (`undefined` is a call without one; after the last all go well), or
 * a function that chooses.
 *
 * @category Testing
 */
export type FaultPlan = readonly (Fault | undefined)[] | ((call: PlannedCall) => Fault | undefined);

/** The fault of each call, one after the other, by a checked plan. */
export function faultChooser(task: string, plan: FaultPlan): (operation: string) => Fault | undefined {
  if (typeof plan !== "function") checkArray(task, "faults, or a function that chooses one", plan);
  let index = 0;
  return (operation) => {
    const call = { operation, index: index++ };
    return typeof plan === "function" ? plan(call) : plan[call.index];
  };
}
