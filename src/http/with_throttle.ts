/** A throttle around a fetch handler, and the one implementation of Hono's `throttle()`. */
import { HoldfastError } from "../errors.ts";
import { problemResponse, unavailable, withFields } from "../response.ts";
import { sha256 } from "../secret.ts";
import type { Awaitable } from "../store/engine.ts";
import { giveBack, takeUnits } from "../throttle/bound_throttle.ts";
import { givenPolicies } from "../throttle/policies.ts";
import type { ThrottleDecision, ThrottlePolicy } from "../throttle/throttle.ts";
import { bindThrottle, type BoundThrottle, planThrottle } from "../throttle/throttle_plan.ts";
import {
  checkFunction,
  checkInteger,
  checkNeededOptions,
  checkOneOf,
  checkStore,
  type OptionNames,
} from "../validate.ts";
import { addressOf, checkAddressOptions, hasLeft } from "./client_address.ts";
import { around, type Exchange, type FetchHandler, type Helper, storeOf } from "./exchange.ts";
import { safely } from "../safely.ts";
import type { HttpThrottleOptions, ThrottleContext } from "./http_throttle.ts";
import { describe, RATE_LIMIT_HEADERS } from "./ratelimit_fields.ts";
import { RequestValues } from "./request_values.ts";

const OPTIONS = {
  name: true,
  whenUnavailable: true,
  timeout: true,
  onFault: true,
  denyCache: true,
  clock: true,
  store: true,
  key: true,
  platform: true,
  trustedProxies: true,
  ipv6Prefix: true,
  skip: true,
  cost: true,
  costAfter: true,
  headers: true,
  policies: true,
  limit: true,
  window: true,
  algorithm: true,
  burst: true,
} satisfies OptionNames<HttpThrottleOptions>;

/**
 * A function may make policies of what clients send: of those that were seen last, this many are kept
 * checked.
 */
const MAX_PLANS = 100;

const TASK = "throttle requests";

/**
 * Answers requests that come too often with a 429, `Retry-After` and problem+json, and tells every client
 * its quota, on every kind of response. During an outage of the store requests pass unless
 * `whenUnavailable` says otherwise: `"deny"` answers a 503. A store that is misconfigured throws, and
 * `onFault` is called. A request that meets one instance twice counts once.
 *
 * @see https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
 * @throws {RangeError} when a number of the policies or options is out of range
 * @throws {TypeError} when the name is missing, or an option is unknown or of another type
 * @category HTTP
 * @example
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { withThrottle } from "@holdfast/edge/http";
 *
 * const key = () => "all visitors together";
 * const handler = withThrottle(
 *   () => new Response("hello"),
 *   { store: memoryStore(), name: "site", limit: 1, window: "1m", key },
 * );
 * const ask = async () => (await handler(new Request("https://example.com/"))).status;
 * const statuses = [await ask(), await ask()];
 * if (statuses.join() !== "200,429") throw new Error("unexpected");
 * ```
 */
export function withThrottle<Context = unknown>(
  handler: FetchHandler<Context & ThrottleContext>,
  options: HttpThrottleOptions<Context>,
): (request: Request, context?: Omit<Context, keyof ThrottleContext>) => Promise<Response> {
  return around(handler, "throttle", undefined, throttleHelper(options)) as ReturnType<
    typeof withThrottle<Context>
  >;
}

/** The throttle of requests, whatever framework they come through. */
export function throttleHelper<Context>(
  options: HttpThrottleOptions<Context>,
): Helper<Context, ThrottleDecision | undefined> {
  checkOptions(options);
  const { headers = "draft-11", whenUnavailable, skip, cost = 1, costAfter } = options;
  const report = safely(options.onFault);
  const throttleFor = throttles(options);
  const keyOf = keys(options, report);
  // By key: one instance on the app and on its route is one count, and a key that changes between is two.
  const decided = new RequestValues<Map<string, ThrottleDecision>>();
  return async (exchange, serve) => {
    const { owner, context } = exchange; // not its request, which may be made at the first look at it
    // An `await` of what is no promise still costs a turn of the loop, and here each request would pay it.
    const skipped = skip !== undefined && await skip(exchange.request, context) === true;
    const found = skipped ? undefined : throttleFor(exchange);
    const mine = found instanceof Promise ? await found : found;
    if (mine === undefined) return (await serve(undefined)).response;
    const ofRequest = keyOf(exchange);
    const key = ofRequest instanceof Promise ? await ofRequest : ofRequest;
    if (key === null) return new Response(null, { status: 499 });
    if (key === undefined) return badRequest("The key of the request is empty or not well-formed");
    const before = decided.get(owner)?.get(key);
    if (before !== undefined) return (await serve(before)).response;
    const units = typeof cost === "function" ? unitsOf(cost(exchange.request, context), report) : cost;
    if (units === undefined) return badRequest("The cost is not a whole number");
    const taken = takeUnits(mine, key, units);
    const decision = taken instanceof Promise ? await taken : taken;
    decided.set(owner, (decided.get(owner) ?? new Map()).set(key, decision));
    // Without a store there are no numbers, unless another throttle has some.
    const style = decision.degraded && typeof whenUnavailable !== "object" ? "none" : headers;
    if (!decision.allowed) {
      if (decision.degraded && whenUnavailable === "deny") return unavailable();
      const response = refusal(decision);
      describe(response.headers, style, decision);
      return response;
    }
    const { response, error } = await serve(decision);
    let last = decision;
    if (costAfter && error === undefined && !decision.degraded) {
      const after = () => costAfter(response, exchange.request, context);
      // The answer is made: it goes out, whatever fails here.
      last = await settle(mine, key, after, units, decision).catch((error) => (report(error), decision));
    }
    return style === "none"
      ? response
      : withFields(response, owner, (fields) => describe(fields, style, last));
  };
}

/** Gives back what was taken too much, or takes what was too little, once the answer is known. */
async function settle(
  throttle: BoundThrottle,
  key: string,
  after: () => unknown,
  before: number,
  decision: ThrottleDecision,
): Promise<ThrottleDecision> {
  const more = checkInteger(TASK, "costAfter", after(), 0) - before;
  if (more < 0) return await giveBack(throttle, key, -more);
  if (more === 0) return decision;
  const taken = await takeUnits(throttle, key, more);
  // The work is done: of a cost that is not there any more, what is left is taken.
  if (taken.allowed || taken.remaining === 0) return taken;
  return await takeUnits(throttle, key, Math.min(more, taken.remaining));
}

/** Checks what {@linkcode planThrottle} does not. */
function checkOptions<Context>(options: HttpThrottleOptions<Context>): void {
  checkNeededOptions(TASK, options, OPTIONS, "'store', 'name', 'limit' and 'window'");
  const { key, cost = 1, headers = "draft-11", trustedProxies = 0, platform = "auto", store } = options;
  checkOneOf(TASK, "headers", headers, RATE_LIMIT_HEADERS);
  checkAddressOptions(TASK, options);
  for (const name of ["key", "skip", "costAfter"] as const) checkFunction(TASK, name, options[name]);
  if (typeof cost !== "function") checkInteger(TASK, "cost", cost, 0);
  if (key !== undefined && (trustedProxies !== 0 || platform !== "auto")) {
    const other = trustedProxies === 0 ? "platform" : "trustedProxies";
    throw new TypeError(`Cannot ${TASK} as 'key' and '${other}' exclude each other`);
  }
  if (typeof store !== "function") checkStore(TASK, store);
}

/**
 * The throttle of a request. It is made over the request's own store: a store may hold what only its
 * request may use. What is kept between requests is the checked options here, and the denials per binding
 * in `src/throttle`.
 */
function throttles<Context>(
  options: HttpThrottleOptions<Context>,
): (exchange: Exchange<Context>) => Awaitable<BoundThrottle | undefined> {
  const { store } = options;
  const policies = givenPolicies(options, options.policies);
  const over = (own: readonly ThrottlePolicy[]): (exchange: Exchange<Context>) => BoundThrottle => {
    const plan = planThrottle(options, own);
    if (typeof store === "function") return ({ context }) => bindThrottle(plan, storeOf(store, context));
    const built = bindThrottle(plan, store);
    return () => built;
  };
  if (typeof policies !== "function") return over(policies);
  planThrottle(options, [{ limit: 1, window: 1 }]); // bad options fail here, not at the first request
  const plans = new Map<string, (exchange: Exchange<Context>) => BoundThrottle>();
  return async (exchange) => {
    const own = await policies(exchange.request, exchange.context);
    if (Array.isArray(own) && own.length === 0) return undefined;
    const text = JSON.stringify(own);
    let plan = plans.get(text);
    if (plan === undefined) {
      plans.set(text, plan = over(own));
      if (plans.size > MAX_PLANS) plans.delete(plans.keys().next().value!);
    }
    return plan(exchange);
  };
}

/**
 * The key of a request; `undefined` for a key that no store takes, `null` where the client left before its
 * address was asked for.
 *
 * @throws {HoldfastError} `misconfigured` when there is no `key` and the runtime tells no address
 */
function keys<Context>(
  options: HttpThrottleOptions<Context>,
  report: (error: unknown) => void,
): (exchange: Exchange<Context>) => Awaitable<string | null | undefined> {
  let told = false;
  return (exchange) => {
    if (options.key === undefined) {
      const address = addressOf(exchange, options);
      if (address !== undefined) return short(`ip:${address}`);
      if (hasLeft(exchange)) return null;
      const error = new HoldfastError(
        "misconfigured",
        "Cannot throttle by the client's address as the runtime does not tell it: give a 'key', the 'platform' or " +
          "'trustedProxies', or mount it before what replaces the request",
      );
      if (!told) report(error); // every request fails: one report is enough
      told = true;
      throw error;
    }
    const key: unknown = options.key(exchange.request, exchange.context);
    return typeof key === "string" ? usable(key) : Promise.resolve(key).then(usable);
  };
}

/** The key as stores take it; `undefined` for one that none takes. */
function usable(key: unknown): Awaitable<string | undefined> {
  if (typeof key !== "string") throw unusable("'key' must return a string", key);
  return key === "" || !key.isWellFormed() ? undefined : short(key);
}

/** The units that the request takes; `undefined` for a number that is no cost. */
function unitsOf(units: unknown, report: (error: unknown) => void): number | undefined {
  if (Number.isSafeInteger(units) && (units as number) >= 0) return units as number;
  const must = "'cost' must return a whole number";
  if (typeof units !== "number") throw unusable(must, units);
  report(new RangeError(`Cannot throttle as ${must}: current value is ${units}`));
  return undefined;
}

function unusable(must: string, value: unknown): TypeError {
  return new TypeError(`Cannot throttle as ${must}: current type is ${typeof value}`);
}

function badRequest(detail: string): Response {
  return problemResponse(400, "The request cannot be counted", { detail });
}

function refusal({ policies, retryAfter, blockedFor }: ThrottleDecision): Response {
  const kind = blockedFor > 0 ? "abnormal-usage-detected" : "quota-exceeded";
  const violated = policies.filter(({ retryAfter }) => retryAfter > 0).map(({ name }) => name);
  return problemResponse(429, "Too many requests", {
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
function short(key: string): Awaitable<string> {
  const hashed = key.length > 128 || key.startsWith("sha256:");
  return hashed ? sha256(key).then((hash) => `sha256:${hash}`) : key;
}
