import type { PolicyState, ThrottleDecision } from "../throttle/throttle.ts";
import { type HeaderFields, seconds } from "../response.ts";

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
export function describe(to: HeaderFields, style: RateLimitHeaders, decision: ThrottleDecision): void {
  if (style === "none") return;
  if (style === "draft-11") return describePolicies(to, decision.policies);
  const { limit, remaining, resetAfter } = decision;
  const figures = Object.entries({ limit, remaining, reset: resetAfter / 1000 });
  if (style !== "legacy") {
    const quotas = decision.policies.map(({ limit, window }) => `${integer(limit)};w=${seconds(window)}`);
    to.set("ratelimit-policy", quotas.join(", "));
  }
  if (style === "draft-7") {
    to.set("ratelimit", figures.map(([name, value]) => `${name}=${integer(value)}`).join(", "));
  } else {
    const prefix = style === "legacy" ? "x-ratelimit" : "ratelimit";
    for (const [name, value] of figures) to.set(`${prefix}-${name}`, integer(value));
  }
}

/** The fields of draft 11. Every answer has them, so they are put together without lists. */
function describePolicies(to: HeaderFields, policies: readonly PolicyState[]): void {
  let quotas = "";
  let states = "";
  for (const { name, limit, window, remaining, nextAfter } of policies) {
    const item = (quotas && ", ") + quoted(name);
    // The field has whole seconds only: a window that is none is left out, which the draft allows.
    const whole = window % 1000 === 0 ? `;w=${integer(window / 1000)}` : "";
    // `t` is the time to the next unit: true by every reading of it that the drafts have had.
    const next = nextAfter > 0 ? `;t=${integer(nextAfter / 1000)}` : "";
    quotas += `${item};q=${integer(limit)}${whole}`;
    states += `${item};r=${integer(remaining)}${next}`;
  }
  to.append("ratelimit-policy", quotas);
  to.append("ratelimit", states);
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
  if (/^[\w-]*$/.test(name)) return `"${name}"`; // nearly every name; a replacement costs several times as much
  return `"${name.replace(/[^\x20!\x23-\x5b\x5d-\x7e]/g, (at) => /["\\]/.test(at) ? "\\" + at : "?")}"`;
}
