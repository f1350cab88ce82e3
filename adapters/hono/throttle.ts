import { sha256 } from "../../src/secret.ts";
import type { AtomicStore } from "../../src/store/atomic_store.ts";
import {
  createThrottle,
  type Throttle,
  type ThrottleBaseOptions,
  type ThrottleDecision,
  type ThrottlePolicy,
} from "../../src/throttle/throttle.ts";
import { clientAddress } from "./_client_address.ts";
import {
  changeable,
  perStore,
  type RouteContext,
  type RouteMiddleware,
  type StoreSource,
} from "./_context.ts";
import { describe, type RateLimitHeaders } from "./_ratelimit_fields.ts";
import { problem, unavailable } from "./problem.ts";

export type { RateLimitHeaders };

/** Options of {@linkcode throttle} beside the policies. */
export interface ThrottleHelperOptions extends ThrottleBaseOptions {
  /** Where the counters live, or how to get it from a request. */
  readonly store: StoreSource;
  /**
   * Who is counted. By default the address of the client as the runtime knows it (IPv6 by /64); `X-Forwarded-For` is not
   * trusted. What has no address is counted together.
   */
  // deno-lint-ignore no-explicit-any
  readonly key?: (c: any) => string | Promise<string>;
  /**
   * How many proxies of your own every request comes through: the address is taken that many places from the right of
   * `X-Forwarded-For`.
   * @default {0}
   */
  readonly trustedProxies?: number;
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
}

/** Options of {@linkcode throttle}: policies as they are, or made for each request; an empty list lets it pass. */
export type ThrottleOptions =
  & ThrottleHelperOptions
  & (ThrottlePolicy | {
    readonly policies:
      | readonly ThrottlePolicy[]
      // deno-lint-ignore no-explicit-any
      | ((c: any) => readonly ThrottlePolicy[] | Promise<readonly ThrottlePolicy[]>);
  });

/** `new Hono<{ Variables: ThrottleVariables }>()` makes `c.var.throttle` typed. */
export interface ThrottleVariables {
  /** What was decided; `undefined` when no policy applied. */
  throttle: ThrottleDecision | undefined;
}

/**
 * Turns requests away that come too often, with a 429, `Retry-After` and problem+json; tells every client where it
 * stands, on every kind of response. When the store does not answer, requests pass unless `onError` says otherwise:
 * `"deny"` answers a 503.
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
  const { store, cost = 1, headers = "draft-11", trustedProxies = 0 } = options;
  if (!(Number.isSafeInteger(trustedProxies) && trustedProxies >= 0)) {
    throw new RangeError(
      `Cannot throttle as 'trustedProxies' must be a whole number from 0 on: current value is ${trustedProxies}`,
    );
  }
  const key = options.key ?? ((c: RouteContext) => address(c, trustedProxies));
  const throttleFor = throttles(store, options);
  return async function throttle(c: RouteContext, next: () => Promise<void>): Promise<Response | void> {
    const mine = await throttleFor(c);
    if (mine === undefined) return await next();
    const units = typeof cost === "function" ? cost(c) : cost;
    const decision = await mine.check(await short(await key(c)), { cost: units });
    c.set("throttle", decision);
    // Without a store there are no numbers, unless another throttle has some.
    const style = decision.degraded && typeof options.onError !== "object" ? "none" : headers;
    if (!decision.allowed) {
      if (decision.degraded && options.onError === "deny") return unavailable();
      const response = refusal(decision);
      describe(response.headers, style, decision);
      return response;
    }
    await next();
    describe(changeable(c), style, decision);
  };
}

/** The throttle that a request meets, built once for its store and policies. */
function throttles(
  store: StoreSource,
  options: ThrottleOptions,
): (c: RouteContext) => Throttle | undefined | Promise<Throttle | undefined> {
  const given = "policies" in options ? options.policies : [options];
  if (typeof given !== "function") {
    createThrottle(NOWHERE, { ...options, policies: given }); // a bad policy fails here
    return perStore(store, (store) => createThrottle(store, { ...options, policies: given }));
  }
  const known = perStore(store, (store) => ({ store, throttles: new Map<string, Throttle>() }));
  return async (c) => {
    const policies = await given(c);
    if (policies.length === 0) return undefined;
    const { store, throttles } = known(c);
    const name = JSON.stringify(policies);
    let built = throttles.get(name);
    if (built === undefined) {
      if (throttles.size >= 100) throttles.clear(); // made of what clients send, perhaps
      throttles.set(name, built = createThrottle(store, { ...options, policies }));
    }
    return built;
  };
}

const NOWHERE = { namespace: () => NOWHERE } as unknown as AtomicStore;

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

function address(c: RouteContext, proxies: number): string {
  const known = clientAddress(c, proxies);
  return known === undefined ? "unknown" : `ip:${known}`;
}

/** What a client makes up may be longer than an engine's keys. */
async function short(key: string): Promise<string> {
  return key.length > 128 || key.startsWith("sha256:") ? `sha256:${await sha256(key)}` : key;
}
