import type { PolicyState, ThrottleDecision } from "../throttle/throttle.ts";
import { seconds } from "../response.ts";

/**
 * The header fields that tell a client its quota, by the draft that defines them.
 *
 * @category HTTP
 */
export type RateLimitHeaders = "draft-11" | "draft-7" | "draft-6" | "legacy" | "none";

/** Every choice of {@linkcode RateLimitHeaders}. */
export const RATE_LIMIT_HEADERS: readonly RateLimitHeaders[] = [
  "draft-11",
  "draft-7",
  "draft-6",
  "legacy",
  "none",
];

/** The largest integer of a structured field: 15 digits. */
const MAX_INTEGER = 999_999_999_999_999;

/**
 * Writes the fields of one of the drafts.
 *
 * @see https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
 */
export function describe(to: Headers, style: RateLimitHeaders, decision: ThrottleDecision): void {
  const limit = integer(decision.limit);
  const remaining = integer(decision.remaining);
  const reset = integer(decision.resetAfter / 1000);
  switch (style) {
    case "draft-11":
      to.append("ratelimit-policy", decision.policies.map(policyItem).join(", "));
      to.append("ratelimit", decision.policies.map(stateItem).join(", "));
      break;
    case "draft-7":
      to.set("ratelimit-policy", decision.policies.map(quota).join(", "));
      to.set("ratelimit", `limit=${limit}, remaining=${remaining}, reset=${reset}`);
      break;
    case "draft-6":
      to.set("ratelimit-policy", decision.policies.map(quota).join(", "));
      three(to, "ratelimit", limit, remaining, reset);
      break;
    case "legacy":
      three(to, "x-ratelimit", limit, remaining, reset);
  }
}

function three(to: Headers, prefix: string, limit: string, remaining: string, reset: string): void {
  to.set(`${prefix}-limit`, limit);
  to.set(`${prefix}-remaining`, remaining);
  to.set(`${prefix}-reset`, reset);
}

/**
 * An integer of a structured field (RFC 9651 §3.3.1), rounded up. Our own policies are far below its bound;
 * those of another throttle in `whenUnavailable` may not be.
 */
function integer(value: number): string {
  return String(Math.max(0, Math.min(MAX_INTEGER, Math.ceil(value))) || 0);
}

/** A string of a structured field (RFC 9651 §3.3.3): printable ASCII alone. */
function quoted(name: string): string {
  return `"${name.replace(/[^\x20-\x7e]/g, "?").replace(/["\\]/g, "\\$&")}"`;
}

function quota({ limit, window }: PolicyState): string {
  return `${integer(limit)};w=${seconds(window)}`;
}

function policyItem({ name, limit, window }: PolicyState): string {
  // The field has whole seconds only: a window that is none is left out, which the draft allows.
  const seconds = window % 1000 === 0 ? `;w=${integer(window / 1000)}` : "";
  return `${quoted(name)};q=${integer(limit)}${seconds}`;
}

/** `t` is the time to the next unit: true by every reading of it that the drafts have had. */
function stateItem({ name, remaining, nextAfter }: PolicyState): string {
  const next = nextAfter > 0 ? `;t=${integer(nextAfter / 1000)}` : "";
  return `${quoted(name)};r=${integer(remaining)}${next}`;
}
