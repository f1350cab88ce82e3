import { shown } from "./validate.ts";

/**
 * A length of time: milliseconds as a number, or digits and a unit (`"250ms"`, `"30s"`, `"5m"`, `"1h"`,
 * `"7d"`).
 *
 * @category Shared
 */
export type Duration = number | `${number}${"ms" | "s" | "m" | "h" | "d"}`;

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/**
 * Reads a duration as whole milliseconds, rounded up so that nothing ever ends early.
 *
 * @throws {RangeError} when it is missing, zero, negative, not finite or not a duration at all
 * @category Shared
 * @example
 * ```ts
 * import { toMilliseconds } from "@holdfast/edge/engine";
 * if (toMilliseconds("1.5s") !== 1500) throw new Error("unexpected");
 * ```
 */
export function toMilliseconds(duration: Duration, name = "duration"): number {
  const [, count, unit = ""] = typeof duration === "string" && /^(\d+(?:\.\d+)?)([a-z]+)$/.exec(duration) ||
    [];
  const ms = typeof duration === "number" ? duration : Number(count) * UNITS[unit]!;
  if (ms > 0 && ms <= Number.MAX_SAFE_INTEGER) return Math.ceil(ms);
  const current = duration === undefined ? "it is missing" : `current value is ${shown(duration)}`;
  throw new RangeError(
    `Cannot use the duration as '${name}' must be milliseconds or a text like "30s", "5m", above zero: ${current}`,
  );
}
