import type { PolicyState, ThrottleDecision } from "../../src/throttle/throttle.ts";
import { seconds } from "./problem.ts";

/** Which header fields tell a client where it stands. */
export type RateLimitHeaders = "draft-11" | "draft-7" | "draft-6" | "legacy" | "none";

/**
 * Writes the fields of one of the drafts.
 *
 * @see https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
 */
export function describe(to: Headers, style: RateLimitHeaders, decision: ThrottleDecision): void {
  const { limit, remaining } = decision;
  const reset = Math.ceil(decision.resetAfter / 1000);
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

function three(to: Headers, prefix: string, limit: number, remaining: number, reset: number): void {
  to.set(`${prefix}-limit`, String(limit));
  to.set(`${prefix}-remaining`, String(remaining));
  to.set(`${prefix}-reset`, String(reset));
}

function quota({ limit, window }: PolicyState): string {
  return `${limit};w=${seconds(window)}`;
}

function quoted(name: string): string {
  return `"${name.replace(/["\\]/g, "\\$&")}"`;
}

function policyItem({ name, limit, window }: PolicyState): string {
  // A window that is no whole number of seconds cannot be said: it is left out.
  return `${quoted(name)};q=${limit}${window % 1000 === 0 ? `;w=${window / 1000}` : ""}`;
}

/** `t` is the time to the next unit: true by every reading of it that the drafts have had. */
function stateItem({ name, remaining, nextAfter }: PolicyState): string {
  return `${quoted(name)};r=${remaining}${nextAfter > 0 ? `;t=${seconds(nextAfter)}` : ""}`;
}
