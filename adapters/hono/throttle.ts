import { HoldfastError } from "../../src/errors.ts";
import { sha256 } from "../../src/secret.ts";
import { planThrottle, type ThrottlePlan } from "../../src/throttle/create_throttle.ts";
import { givenPolicies } from "../../src/throttle/policies.ts";
import type {
  Throttle,
  ThrottleBaseOptions,
  ThrottleDecision,
  ThrottlePolicy,
  ThrottleRule,
} from "../../src/throttle/throttle.ts";
import {
  checkFunction,
  checkInteger,
  checkNeededOptions,
  checkOneOf,
  checkStore,
  type OptionNames,
} from "../../src/validate.ts";
import { clientAddress } from "./_client_address.ts";
import {
  changeable,
  type RouteContext,
  type RouteMiddleware,
  storeOf,
  type StoreSource,
} from "./_context.ts";
import { describe, RATE_LIMIT_HEADERS, type RateLimitHeaders } from "./_ratelimit_fields.ts";
import { problem, unavailable } from "./problem.ts";

export type { RateLimitHeaders };

/**
 * Options of {@linkcode throttle} besides the policies.
 *
 * @category Hono
 */
export interface ThrottleMiddlewareBaseOptions extends ThrottleBaseOptions {
  /**
   * The store of the counters, or a function that makes it of a request (on Workers, bindings exist only
   * there). The deny cache is kept per binding, so a store that is made anew for each request finds it
   * again.
   */
  readonly store: StoreSource;
  /**
   * Called with every fault: of the store, whether it is thrown or decided by `whenUnavailable`, and of
   * requests that cannot be counted as the client's address is unknown or `cost` returned no cost.
   */
  readonly onFault?: ((error: unknown) => void) | undefined;
  /**
   * The key of the counter, for example a user's id. An empty or ill-formed key is answered with a 400, a
   * long one is hashed, and anything but a string is a `TypeError`.
   *
   * By default the address of the client as the runtime knows it (IPv6 by /64). `X-Forwarded-For` is
   * trusted only as far as `trustedProxies` says. A runtime that tells no address (Vercel, AWS Lambda, a
   * Unix socket) needs one of the two: without, every request fails with a `misconfigured` error.
   * @default {the client's address}
   */
  // deno-lint-ignore no-explicit-any
  readonly key?: ((c: any) => string | Promise<string>) | undefined;
  /**
   * The number of proxies of your own that every request comes through: the address is taken that many
   * places from the right of `X-Forwarded-For`. Not beside `key`.
   * @default {0}
   */
  readonly trustedProxies?: number | undefined;
  /**
   * The units that a request takes, an integer of at least 0. With 0 it takes nothing, and passes unless
   * its key is blocked. A function that returns another number has its request answered with a 400.
   * @default {1}
   */
  // deno-lint-ignore no-explicit-any
  readonly cost?: number | ((c: any) => number) | undefined;
  /**
   * The header fields that tell a client its quota.
   * @default {"draft-11"}
   */
  readonly headers?: RateLimitHeaders | undefined;
}

/**
 * Policies, or a function that makes them for each request; an empty list lets the request pass without a
 * check.
 *
 * @category Hono
 */
export type ThrottlePolicies =
  | readonly ThrottlePolicy[]
  // deno-lint-ignore no-explicit-any
  | ((c: any) => readonly ThrottlePolicy[] | Promise<readonly ThrottlePolicy[]>);

/**
 * Options of {@linkcode throttle}: one rule (`limit`, `window` …) or `policies`, never both.
 *
 * @category Hono
 */
export type ThrottleMiddlewareOptions =
  & ThrottleMiddlewareBaseOptions
  & (
    | (ThrottleRule & { readonly policies?: undefined })
    | ({ readonly [Name in keyof ThrottleRule]?: undefined } & { readonly policies: ThrottlePolicies })
  );

const OPTIONS = {
  name: true,
  whenUnavailable: true,
  timeout: true,
  onFault: true,
  denyCache: true,
  clock: true,
  store: true,
  key: true,
  trustedProxies: true,
  cost: true,
  headers: true,
  policies: true,
  limit: true,
  window: true,
  algorithm: true,
  burst: true,
} satisfies OptionNames<ThrottleMiddlewareOptions>;

/**
 * A function may make policies of what clients send: of those that were seen last, this many are kept
 * checked.
 */
const MAX_PLANS = 100;

/**
 * `new Hono<{ Variables: ThrottleVariables }>()` makes `c.var.throttle` typed.
 *
 * @category Hono
 */
export interface ThrottleVariables {
  /** The decision; `undefined` when no policy applied. */
  throttle: ThrottleDecision | undefined;
}

/**
 * Answers requests that come too often with a 429, `Retry-After` and problem+json, and tells every client
 * its quota, on every kind of response. During an outage of the store requests pass unless
 * `whenUnavailable` says otherwise: `"deny"` answers a 503. A store that is misconfigured throws, and
 * `onFault` is called. A request that meets one instance twice, on the app and on its route, counts once.
 *
 * @see https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
 * @throws {RangeError} when a number of the policies or options is out of range
 * @throws {TypeError} when the name is missing, or an option is unknown or of another type
 * @category Hono
 * @example
 * ```ts
 * import { Hono } from "hono";
 * import { memoryStore } from "@holdfast/edge";
 * import { throttle } from "@holdfast/edge/hono";
 *
 * const app = new Hono();
 * const key = () => "all visitors together";
 * app.use(throttle({ store: memoryStore(), name: "site", limit: 1, window: "1m", key }));
 * app.get("/", (c) => c.text("hello"));
 * const statuses = [(await app.request("/")).status, (await app.request("/")).status];
 * if (statuses.join() !== "200,429") throw new Error("unexpected");
 * ```
 */
export function throttle(options: ThrottleMiddlewareOptions): RouteMiddleware {
  checkOptions(options);
  const { headers = "draft-11", whenUnavailable } = options;
  const throttleFor = throttles(options);
  // By key: `app.use(mine)` and `app.get("/", mine, …)` are one count, and a key that changes between is two.
  const decided = new WeakMap<RouteContext, Map<string, ThrottleDecision>>();
  return async function throttle(c: RouteContext, next: () => Promise<void>): Promise<Response | void> {
    const mine = await throttleFor(c);
    if (mine === undefined) return await next();
    const key = await keyOf(c, options);
    if (key === undefined) return badRequest("The key of the request is empty or not well-formed");
    const before = decided.get(c)?.get(key);
    if (before !== undefined) {
      c.set("throttle", before);
      return await next();
    }
    const cost = costOf(c, options);
    if (cost === undefined) return badRequest("The cost of the request is not a whole number");
    const decision = await mine.check(key, { cost });
    decided.set(c, (decided.get(c) ?? new Map()).set(key, decision));
    c.set("throttle", decision);
    // Without a store there are no numbers, unless another throttle has some.
    const style = decision.degraded && typeof whenUnavailable !== "object" ? "none" : headers;
    if (!decision.allowed) {
      if (decision.degraded && whenUnavailable === "deny") return unavailable();
      const response = refusal(decision);
      describe(response.headers, style, decision);
      return response;
    }
    await next();
    describe(changeable(c), style, decision);
  };
}

/** Checks what {@linkcode planThrottle} does not. */
function checkOptions(options: ThrottleMiddlewareOptions): void {
  checkNeededOptions("make throttle()", options, OPTIONS, "'store', 'name', 'limit' and 'window'");
  const { key, cost = 1, headers = "draft-11", trustedProxies = 0, store } = options;
  checkOneOf("make throttle()", "headers", headers, RATE_LIMIT_HEADERS);
  checkInteger("make throttle()", "trustedProxies", trustedProxies, 0);
  checkFunction("make throttle()", "key", key);
  if (typeof cost !== "function") checkInteger("make throttle()", "cost", cost, 0);
  if (key !== undefined && trustedProxies !== 0) {
    throw new TypeError("Cannot make throttle() as 'key' and 'trustedProxies' exclude each other");
  }
  if (typeof store !== "function") checkStore("make throttle()", store);
}

/**
 * The throttle of a request. It is made over the request's own store: a store may hold what only its
 * request may use. What is kept between requests is the checked options here, and the denials per binding
 * in `src/throttle`.
 */
function throttles(
  options: ThrottleMiddlewareOptions,
): (c: RouteContext) => Throttle | undefined | Promise<Throttle | undefined> {
  const { store, name, whenUnavailable, timeout, onFault, denyCache, clock } = options;
  const base: ThrottleBaseOptions = { name, whenUnavailable, timeout, onFault, denyCache, clock };
  const policies = givenPolicies(options, options.policies);
  const over = (plan: ThrottlePlan): (c: RouteContext) => Throttle => {
    if (typeof store === "function") return (c) => plan.over(storeOf(store, c));
    const built = plan.over(store);
    return () => built;
  };
  if (typeof policies !== "function") return over(planThrottle({ ...base, policies }));
  planThrottle({ ...base, limit: 1, window: 1 }); // bad options fail here, not at the first request
  const plans = new Map<string, (c: RouteContext) => Throttle>();
  return async (c) => {
    const own = await policies(c);
    if (Array.isArray(own) && own.length === 0) return undefined;
    const text = JSON.stringify(own);
    let plan = plans.get(text);
    if (plan === undefined) {
      plan = over(planThrottle({ ...base, policies: own }));
      plans.set(text, plan);
      if (plans.size > MAX_PLANS) plans.delete(plans.keys().next().value!);
    }
    return plan(c);
  };
}

/**
 * The key of the request; `undefined` for a key that no store takes.
 *
 * @throws {HoldfastError} `misconfigured` when there is no `key` and the runtime tells no address
 */
async function keyOf(c: RouteContext, options: ThrottleMiddlewareOptions): Promise<string | undefined> {
  if (options.key === undefined) {
    const address = clientAddress(c, options.trustedProxies ?? 0);
    if (address !== undefined) return await short(`ip:${address}`);
    const error = new HoldfastError(
      "misconfigured",
      "Cannot throttle by the client's address as the runtime does not tell it: give throttle() a 'key', or " +
        "'trustedProxies' behind a proxy, and mount it before middleware that replaces the request",
    );
    report(options, error);
    throw error;
  }
  const key: unknown = await options.key(c);
  if (typeof key !== "string") {
    throw new TypeError(`Cannot throttle as 'key' must return a string: current type is ${typeof key}`);
  }
  return key === "" || !key.isWellFormed() ? undefined : await short(key);
}

/** The units that the request takes; `undefined` for a number that is no cost. */
function costOf(c: RouteContext, options: ThrottleMiddlewareOptions): number | undefined {
  const { cost = 1 } = options;
  if (typeof cost !== "function") return cost;
  const units: unknown = cost(c);
  if (Number.isSafeInteger(units) && (units as number) >= 0) return units as number;
  const task = "Cannot throttle as 'cost' must return an integer of at least 0";
  if (typeof units !== "number") throw new TypeError(`${task}: current type is ${typeof units}`);
  report(options, new RangeError(`${task}: current value is ${units}`));
  return undefined;
}

function report({ onFault }: ThrottleMiddlewareOptions, error: unknown): void {
  try {
    onFault?.(error);
  } catch {
    // A listener that throws changes no answer.
  }
}

function badRequest(detail: string): Response {
  return problem(400, "The request cannot be counted", { detail });
}

function refusal({ policies, retryAfter, blockedFor }: ThrottleDecision): Response {
  const kind = blockedFor > 0 ? "abnormal-usage-detected" : "quota-exceeded";
  const violated = policies.filter(({ retryAfter }) => retryAfter > 0).map(({ name }) => name);
  return problem(429, "Too many requests", {
    type: `https://iana.org/assignments/http-problem-types#${kind}`,
    extensions: { "violated-policies": violated },
    retryAfter,
    ...(retryAfter === Infinity && { detail: "The request costs more than is ever available" }),
  });
}

/**
 * A key of a client's making may be longer than what an engine takes: beyond 128 characters its hash stands
 * for it.
 */
async function short(key: string): Promise<string> {
  return key.length > 128 || key.startsWith("sha256:") ? `sha256:${await sha256(key)}` : key;
}
