import { HoldfastError, type HoldfastErrorCode } from "./errors.ts";

/**
 * The class of a fault, which decides who handles it.
 *
 * - `outage`: ends without a change of code or settings. The caller's `whenUnavailable` decides.
 * - `misconfiguration`: stays until a setting is changed. Always thrown, always reported to `onFault`.
 * - `other`: an expected fault of a contract (`lock-lost`), bad input, or an error of the application.
 */
export type FaultClass = "outage" | "misconfiguration" | "other";

const OUTAGES: ReadonlySet<HoldfastErrorCode> = new Set<HoldfastErrorCode>([
  "backend-unavailable",
  "timeout",
  "contention",
  "rate-limited",
  "store-full",
  "not-replicated",
  "queue-full",
]);

const MISCONFIGURATIONS: ReadonlySet<HoldfastErrorCode> = new Set<HoldfastErrorCode>([
  "unauthorized",
  "misconfigured",
  "quota-exceeded",
  "read-only",
  "unsupported",
  "transition-unknown",
]);

/** Tells the class by the error's code, never by its message. */
export function faultClass(error: unknown): FaultClass {
  if (isOutage(error)) return "outage";
  return error instanceof HoldfastError && MISCONFIGURATIONS.has(error.code) ? "misconfiguration" : "other";
}

/**
 * Whether a fault is an outage. Apart from `faultClass`, so that its callers do not bundle the other codes.
 */
export function isOutage(error: unknown): error is HoldfastError {
  return error instanceof HoldfastError && OUTAGES.has(error.code);
}

/**
 * Whether the store is full. It is an outage, since space comes back, but strangers can cause it by what they
 * make an application store: `whenUnavailable: "allow"` never takes it for a permission.
 */
export function isStoreFull(error: unknown): boolean {
  return error instanceof HoldfastError && error.code === "store-full";
}
