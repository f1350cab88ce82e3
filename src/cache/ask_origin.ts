import { withTimeout } from "../deadline.ts";
import { HoldfastError } from "../errors.ts";
import type { Fill, FillLifetime } from "./cache.ts";
import { validated } from "./cache_entry.ts";
import { type CachePlan, keptPlan } from "./cache_plan.ts";

/** One question to the origin. */
export interface Question<T> {
  readonly key: string;
  readonly fill: Fill<T>;
  readonly plan: CachePlan;
}

/**
 * The origin's answer, in time and of the right form, and how it is to be kept: `undefined` where it is not.
 *
 * @param held aborts when the right to fill is lost
 * @throws what the fill throws, `timeout` or `schema-mismatch`
 */
export async function askOrigin<T>(
  { key, fill, plan }: Question<T>,
  held: AbortSignal | undefined,
  previous: T | undefined,
  maxLifetime: number,
): Promise<{ readonly value: T; readonly plan: CachePlan | undefined }> {
  const { fillTimeout } = plan;
  let kept: CachePlan | undefined = plan;
  const keep = (lifetime: FillLifetime | false) => {
    kept = lifetime === false ? undefined : keptPlan(plan, lifetime, maxLifetime);
  };
  const over = new AbortController();
  const signal = held === undefined ? over.signal : AbortSignal.any([held, over.signal]);
  const work = Promise.resolve(fill({ key, signal, previous, keep })).then(
    (value) => validated<T>(value, plan.schema),
  );
  const value = await withTimeout(work, fillTimeout, undefined, () => {
    const error = new HoldfastError(
      "timeout",
      `Cannot fill the value within ${fillTimeout} ms`,
      { retryable: true },
    );
    over.abort(error);
    return error;
  });
  return { value, plan: kept };
}
