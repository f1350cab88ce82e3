/**
 * The time of a transition in whole microseconds.
 *
 * A transition gets whole milliseconds on most engines. An engine whose clock is finer has a form of this
 * function of its own, which adds the microseconds within `now`: the compiled form on Redis takes them from
 * the same reading of `TIME`. So two calls within one millisecond see different times there.
 */
export function microseconds(now: number): number {
  return Math.floor(now * 1000);
}
