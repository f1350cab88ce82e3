import { type Duration, toMilliseconds } from "../../src/duration.ts";
import { HoldfastError } from "../../src/errors.ts";
import {
  createThrottle,
  type PolicyState,
  type Throttle,
  type ThrottleDecision,
  type ThrottleOptions as PolicyOptions,
} from "../../src/throttle/throttle.ts";
import { inTime } from "../_in_time.ts";
import {
  changeable,
  perStore,
  type RouteContext,
  type RouteMiddleware,
  type StoreSource,
} from "./_context.ts";
import { problem, seconds, unavailable } from "./problem.ts";

/** Which header fields tell a client where it stands. */
export type RateLimitHeaders = "draft-11" | "draft-7" | "draft-6" | "legacy" | "none";

/** Options of {@linkcode throttle} beside the policies. */
export interface ThrottleHelperOptions {
  /** Where the counters live, or how to get it from a request. */
  readonly store: StoreSource;
  /**
   * Who is counted. By default the address of the client as the runtime knows it (IPv6 by /64); `X-Forwarded-For` is never
   * trusted. What has no address is counted together.
   */
  // deno-lint-ignore no-explicit-any
  readonly key?: (c: any) => string | Promise<string>;
  /**
   * How many units a request takes.
   * @default {1}
   */
  // deno-lint-ignore no-explicit-any
  readonly cost?: number | ((c: any) => number);
  /**
   * Which header fields to send.
   * @default {"draft-11"}
   */
  readonly headers?: RateLimitHeaders;
  /**
   * What happens when the store does not answer: let the request through, turn it away with a 503, or throw.
   * @default {"allow"}
   */
  readonly onError?: "allow" | "deny" | "throw";
  /**
   * How long to wait for the store.
   * @default {"1s"}
   */
  readonly timeout?: Duration;
  /** Hears of a store that does not answer; must not throw. */
  readonly onFault?: (error: unknown) => void;
}

/** Options of {@linkcode throttle}. */
export type ThrottleOptions = ThrottleHelperOptions & PolicyOptions;

/** `new Hono<{ Variables: ThrottleVariables }>()` makes `c.var.throttle` typed. */
export interface ThrottleVariables {
  /** What was decided; `undefined` when the store did not answer. */
  throttle: ThrottleDecision | undefined;
}

/**
 * Turns requests away that come too often, with a 429, `Retry-After` and problem+json; tells every client where it
 * stands, on every kind of response.
 *
 * @see https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
 * @throws {RangeError} when a policy is not one
 * @example
 * ```ts
 * import { Hono } from "hono";
 * import { memoryStore } from "@holdfast/edge";
 * import { throttle } from "@holdfast/edge/hono";
 *
 * const app = new Hono();
 * app.use(throttle({ store: memoryStore(), limit: 1, window: "1m", key: () => "everybody" }));
 * app.get("/", (c) => c.text("hello"));
 * const statuses = [(await app.request("/")).status, (await app.request("/")).status];
 * if (statuses.join() !== "200,429") throw new Error("unexpected");
 * ```
 */
export function throttle(options: ThrottleOptions): RouteMiddleware {
  const { store, key = clientAddress, cost = 1, headers = "draft-11", onError = "allow", onFault } = options;
  const timeout = toMilliseconds(options.timeout ?? "1s", "timeout");
  const throttles = perStore(store, (store): Throttle => createThrottle(store, options));
  if (typeof store !== "function") throttles(undefined as unknown as RouteContext); // a bad policy fails here
  return async function throttle(c: RouteContext, next: () => Promise<void>): Promise<Response | void> {
    const units = typeof cost === "function" ? cost(c) : cost;
    const who = await key(c);
    let decision: ThrottleDecision | undefined;
    try {
      decision = await inTime(throttles(c).check(who, { cost: units }), timeout, undefined, late);
    } catch (error) {
      if (error instanceof TypeError || error instanceof RangeError || onError === "throw") throw error;
      onFault?.(error);
      if (onError === "deny") return unavailable();
    }
    c.set("throttle", decision);
    if (decision === undefined) return await next();
    if (!decision.allowed) {
      const violated = decision.policies.filter(({ retryAfter }) => retryAfter > 0);
      const response = problem(429, "Too many requests", {
        type: "https://iana.org/assignments/http-problem-types#quota-exceeded",
        extensions: { "violated-policies": violated.map(({ name }) => name) },
        retryAfter: decision.retryAfter,
        ...(decision.retryAfter === Infinity && { detail: "The request costs more than is ever available" }),
      });
      describe(response.headers, headers, decision);
      return response;
    }
    await next();
    describe(changeable(c), headers, decision);
  };
}

/** Writes the fields of one of the drafts. */
function describe(to: Headers, style: RateLimitHeaders, decision: ThrottleDecision): void {
  const { limit, remaining, resetAfter } = decision;
  switch (style) {
    case "draft-11":
      to.append("ratelimit-policy", decision.policies.map(policyItem).join(", "));
      to.append("ratelimit", decision.policies.map(stateItem).join(", "));
      break;
    case "draft-7":
      to.set("ratelimit", `limit=${limit}, remaining=${remaining}, reset=${Math.ceil(resetAfter / 1000)}`);
      break;
    case "draft-6":
    case "legacy": {
      const prefix = style === "legacy" ? "x-ratelimit" : "ratelimit";
      to.set(`${prefix}-limit`, String(limit));
      to.set(`${prefix}-remaining`, String(remaining));
      to.set(`${prefix}-reset`, String(Math.ceil(resetAfter / 1000)));
    }
  }
}

function quoted(name: string): string {
  return `"${name.replace(/["\\]/g, "\\$&")}"`;
}

function policyItem({ name, limit, window }: PolicyState): string {
  // A window of less than a second has no whole number of seconds: it is left out.
  return `${quoted(name)};q=${limit}${window % 1000 === 0 ? `;w=${window / 1000}` : ""}`;
}

function stateItem({ name, remaining, nextAfter }: PolicyState): string {
  return `${quoted(name)};r=${remaining}${nextAfter > 0 ? `;t=${seconds(nextAfter)}` : ""}`;
}

const late = () =>
  new HoldfastError("timeout", "Cannot throttle as the store did not answer in time", { retryable: true });

/** The client's address as the runtime knows it; on Workers alone is `CF-Connecting-IP` the runtime's own word. */
function clientAddress(c: RouteContext): string {
  const address = typeof navigator === "object" && navigator.userAgent === "Cloudflare-Workers"
    ? c.req.header("cf-connecting-ip")
    : c.env?.remoteAddr?.hostname ?? c.env?.info?.remoteAddr?.hostname ??
      c.env?.incoming?.socket?.remoteAddress;
  return typeof address === "string" && address !== "" ? `ip:${aggregated(address)}` : "unknown";
}

/** One host owns a whole /64 of IPv6: its addresses count as one. */
function aggregated(address: string): string {
  const bare = address.split("%")[0]!.toLowerCase();
  if (!bare.includes(":")) return bare;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(bare);
  if (mapped) return mapped[1]!;
  const [head = "", tail] = bare.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const groups = tail === undefined
    ? left
    : [...left, ...Array(Math.max(0, 8 - left.length - right.length)).fill("0"), ...right];
  return groups.slice(0, 4).map((group) => group.replace(/^0+(?=.)/, "")).join(":") + "::/64";
}
