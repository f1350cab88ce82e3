/**
 * The calls of a throttle on its store, as functions: the helpers of `src/http` use two of them, and carry no
 * other. The contract is in `throttle.ts`, the semantics in `throttle_transitions.ts`.
 */
import { withTimeout } from "../deadline.ts";
import { HoldfastError } from "../errors.ts";
import { isOutage, isStoreFull } from "../fault_class.ts";
import { ask, isLocal } from "../store/direct.ts";
import type { Awaitable } from "../store/engine.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import type { Fields, Transition } from "../store/transition.ts";
import type { PolicyState, Throttle, ThrottleDecision } from "./throttle.ts";
import { figuresOf, nextCall, policyName } from "./throttle_numbers.ts";
import type { BoundThrottle, ThrottlePlan } from "./throttle_plan.ts";
import { checkThrottle, peekThrottle } from "./throttle_transitions.ts";

/** The `retryAfter` of a client that was denied during an outage, in milliseconds. */
const OUTAGE_RETRY_AFTER = 1000;

/**
 * Takes units, at least 0 and checked, or answers from the deny cache; see `Throttle.check`. Answers without
 * a promise where the store does, and rejects rather than throws.
 */
export function takeUnits(
  throttle: BoundThrottle,
  key: string,
  cost: number,
  options?: CallOptions,
): Awaitable<ThrottleDecision> {
  const denied = throttle.denials?.find(key, cost);
  if (denied !== undefined) return denied;
  const asked = askUnits(throttle, cost === 0 ? peekThrottle : checkThrottle, key, cost, options);
  if (!(asked instanceof Promise)) return noted(throttle, key, cost, asked);
  return asked.then((output) => noted(throttle, key, cost, output)).catch((error) => {
    return unitsWithoutStore(throttle, key, cost, options, error);
  });
}

/** The decision of an answer, for the deny cache, too. */
function noted(throttle: BoundThrottle, key: string, cost: number, output: Fields): ThrottleDecision {
  const decision = decisionOf(throttle.plan, output);
  throttle.denials?.note(key, cost, decision);
  return decision;
}

async function unitsWithoutStore(
  throttle: BoundThrottle,
  key: string,
  cost: number,
  options: CallOptions | undefined,
  error: unknown,
): Promise<ThrottleDecision> {
  const ask = (other: Throttle) => other.check(key, { ...options, cost });
  const decision = await withoutStore(throttle, error, options, ask);
  throttle.denials?.note(key, cost, decision);
  return decision;
}

/** Gives units back, at least 1 and checked; see `Throttle.refund`. */
export async function giveBack(
  throttle: BoundThrottle,
  key: string,
  units: number,
  options?: CallOptions,
): Promise<ThrottleDecision> {
  throttle.denials?.forget(key);
  return decisionOf(
    throttle.plan,
    await reporting(throttle, options, () => askUnits(throttle, checkThrottle, key, -units, options)),
  );
}

/** Asks the store about units, under every policy. */
export function askUnits(
  throttle: BoundThrottle,
  transition: Transition,
  key: string,
  cost: number,
  options: CallOptions | undefined,
): Awaitable<Fields> {
  const { lines } = throttle.plan;
  const input: Record<string, string> = { cost: String(cost), policy0: lines[0]! };
  for (let i = 1; i < lines.length; i++) input[policyName(i)] = lines[i]!;
  return askStore(throttle, transition, key, input, options);
}

/**
 * The answer of the store, bounded in time; an engine in this process answers at once and needs no bound. It
 * rejects with `corrupt-record` rather than throws.
 */
export function askStore(
  { store, plan }: BoundThrottle,
  transition: Transition,
  key: string,
  input: Record<string, string>,
  options: CallOptions | undefined,
): Awaitable<Fields> {
  if (!isLocal(store)) input.call = nextCall();
  const output = ask(store, transition, key, input, options);
  if (!(output instanceof Promise) && options?.signal === undefined && output.error === undefined) {
    return output;
  }
  // With a signal there is a promise in any case: it may abort before the caller hears of the answer.
  return bounded(plan, Promise.resolve(output), options, transition !== peekThrottle).then(sound);
}

/** Ends the work when the time or the signal does. */
export function bounded<T>(
  { timeout }: ThrottlePlan,
  work: Promise<T>,
  options: CallOptions | undefined,
  writes: boolean,
): Promise<T> {
  return withTimeout(
    work,
    timeout,
    options?.signal,
    () =>
      new HoldfastError("timeout", "Cannot throttle as the store did not answer in time", {
        retryable: true,
        ambiguous: writes,
      }),
  );
}

function sound(output: Fields): Fields {
  if (output["error"] === undefined) return output;
  throw new HoldfastError(
    "corrupt-record",
    "Cannot read the throttle's record as it is none, or of another version",
  );
}

/** The decision after the store failed, or the fault itself. */
export async function withoutStore(
  { plan }: BoundThrottle,
  error: unknown,
  options: CallOptions | undefined,
  ask: (other: Throttle) => Promise<ThrottleDecision>,
): Promise<ThrottleDecision> {
  const { whenUnavailable, policies } = plan;
  report(plan, error, options);
  if (whenUnavailable === "throw" || options?.signal?.aborted || !isOutage(error)) throw error;
  if (typeof whenUnavailable === "object") return { ...await ask(whenUnavailable), degraded: true };
  const allowed = whenUnavailable === "allow" && !isStoreFull(error);
  const retryAfter = allowed ? 0 : OUTAGE_RETRY_AFTER;
  return summary(
    policies.map(({ name, limit, window }): PolicyState => {
      return { name, limit, window, remaining: allowed ? limit : 0, resetAfter: 0, nextAfter: 0, retryAfter };
    }),
    allowed,
    0,
    true,
  );
}

/** Tells the listener of a fault, and throws it. */
export async function reporting<T>(
  { plan }: BoundThrottle,
  options: CallOptions | undefined,
  work: () => Awaitable<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    report(plan, error, options);
    throw error;
  }
}

/** Tells the listener, unless the fault is the caller's own: bad input or an abort. */
function report({ onFault }: ThrottlePlan, error: unknown, options: CallOptions | undefined): void {
  if (options?.signal?.aborted || error instanceof TypeError || error instanceof RangeError) return;
  onFault(error);
}

/** The decision that a transition made. */
export function decisionOf({ policies }: ThrottlePlan, output: Fields): ThrottleDecision {
  const states = policies.map(({ name, limit, window }, i): PolicyState => {
    const figures = figuresOf(output[policyName(i)]!);
    return {
      name,
      limit,
      window,
      remaining: figures[0],
      resetAfter: figures[1],
      nextAfter: figures[2],
      retryAfter: figures[3] < 0 ? Infinity : figures[3],
    };
  });
  return summary(states, output["allowed"] === "1", Number(output["blockedFor"] ?? 0), false);
}

/** A decision; its numbers are those of the tightest policy. */
function summary(
  policies: readonly PolicyState[],
  allowed: boolean,
  blockedFor: number,
  degraded: boolean,
): ThrottleDecision {
  let tightest = policies[0]!;
  for (const next of policies) {
    if (allowed ? next.remaining < tightest.remaining : next.retryAfter > tightest.retryAfter) {
      tightest = next;
    }
  }
  const { limit, remaining, resetAfter, nextAfter } = tightest;
  const retryAfter = allowed ? 0 : Math.max(blockedFor, tightest.retryAfter);
  return { allowed, blockedFor, degraded, limit, remaining, resetAfter, nextAfter, retryAfter, policies };
}
