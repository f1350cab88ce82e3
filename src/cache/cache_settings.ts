import { type Clock, systemClock } from "../clock.ts";
import { toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { isOutage } from "../fault_class.ts";
import { safely } from "../safely.ts";
import { checkFunction, checkNeededOptions, checkOneOf, type OptionNames } from "../validate.ts";
import type { CacheOptions } from "./cache.ts";
import { NearCache } from "./near_cache.ts";

const OPTIONS: OptionNames<CacheOptions> = {
  name: true,
  near: true,
  lease: true,
  maxLifetime: true,
  timeout: true,
  whenUnavailable: true,
  onFault: true,
  clock: true,
};

/** The options of a cache, checked. */
export interface CacheSettings {
  readonly name: string;
  readonly near: NearCache | undefined;
  readonly lease: number;
  /** The same as a text: each read sends it. */
  readonly leaseText: string;
  readonly maxLifetime: number;
  readonly timeout: number;
  readonly report: (error: unknown) => void;
  /** Reports the store's fault; throws what is none, and a fault in which the origin is not to be asked. */
  readonly overlook: (error: unknown) => void;
  readonly clock: Clock;
}

/** Checks the options of a cache. */
export function settingsOf(options: CacheOptions): CacheSettings {
  const task = "create the cache";
  checkNeededOptions(task, options, OPTIONS, "'name'");
  const { name, near, whenUnavailable = "fill", onFault, clock = systemClock } = options;
  if (typeof name !== "string" || name === "") {
    throw new TypeError(`Cannot ${task} as 'name' must be a non-empty string`); // one name, the same keys
  }
  checkFunction(task, "onFault", onFault);
  checkOneOf(task, "whenUnavailable", whenUnavailable, ["fill", "throw"]);
  const report = safely(onFault);
  const lease = toMilliseconds(options.lease ?? "10s", "lease");
  return {
    name,
    near: near && new NearCache(near, clock),
    lease,
    leaseText: String(lease),
    maxLifetime: toMilliseconds(options.maxLifetime ?? "7d", "maxLifetime"),
    timeout: toMilliseconds(options.timeout ?? "2s", "timeout"),
    report,
    overlook(error) {
      if (!(error instanceof HoldfastError)) throw error;
      report(error);
      if (!isOutage(error) || whenUnavailable === "throw") throw error;
    },
    clock,
  };
}
