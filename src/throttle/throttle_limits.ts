/** The figures of a throttle's record, in milliseconds where they are times. */

/**
 * The maximum difference between the clocks of an engine (on Deno KV each isolate has its own). A counter
 * that is ahead of `now` by no more is believed; one that is further ahead is cut back. Cutting back at once
 * would let two isolates whose clocks differ by a few milliseconds open each other's windows again and again.
 */
export const CLOCK_SKEW = 1000;
/**
 * A record ends at a multiple of this, so that most calls leave its end as it is. It is also how long the
 * id of a counted call is remembered at least: a copy of a call that arrives within ten seconds is not
 * counted again.
 */
export const DEADLINE_STEP = 10_000;
/**
 * The maximum length of `recentCalls`: about six ids, and short enough for Redis's compact form of a hash.
 */
export const RECENT_LENGTH = 64;
/** No record needs to live longer than this: two of the longest windows. */
export const LONGEST_RECORD = 126_144_000_000;
/** The largest integer up to which every integer is exact as a double. */
export const EXACT = 9_007_199_254_740_992;
