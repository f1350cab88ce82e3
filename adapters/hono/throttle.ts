import type {
  HttpThrottleBaseOptions,
  HttpThrottleOptions,
  RateLimitHeaders,
} from "../../src/http/http_throttle.ts";
import { throttleHelper } from "../../src/http/with_throttle.ts";
import type { ThrottleDecision, ThrottlePolicy, ThrottleRule } from "../../src/throttle/throttle.ts";
import type { RouteContext, StoreSource } from "./_context.ts";
import { mapOptions, ofContext, pass } from "./_exchange.ts";
import type { HonoContext, HonoEnv, HonoMiddleware } from "./_hono_types.ts";

export type { RateLimitHeaders };

/**
 * Options of {@linkcode throttle} besides the policies: those of `withThrottle`, with callbacks of Hono's
 * context.
 *
 * @category Hono
 */
// deno-lint-ignore no-explicit-any
export interface ThrottleMiddlewareBaseOptions<C = any>
  extends Omit<HttpThrottleBaseOptions, "store" | "key" | "skip" | "cost" | "costAfter"> {
  /** The store of the counters, or a function that makes it of a request. */
  readonly store: StoreSource<C>;
  /**
   * The key of the counter, for example a user's id; see `withThrottle`.
   * @default {the client's address}
   */
  readonly key?: ((c: C) => string | Promise<string>) | undefined;
  /** Lets a request pass without a check and without I/O. */
  readonly skip?: ((c: C) => boolean | Promise<boolean>) | undefined;
  /**
   * The units that a request takes, an integer of at least 0.
   * @default {1}
   */
  readonly cost?: number | ((c: C) => number) | undefined;
  /** The units that it took, once its answer is known as `c.res`; see `withThrottle`. */
  readonly costAfter?: ((c: C) => number) | undefined;
}

/**
 * Policies, or a function that makes them for each request; an empty list lets the request pass without a
 * check.
 *
 * @category Hono
 */
// deno-lint-ignore no-explicit-any
export type ThrottlePolicies<C = any> =
  | readonly ThrottlePolicy[]
  | ((c: C) => readonly ThrottlePolicy[] | Promise<readonly ThrottlePolicy[]>);

/**
 * Options of {@linkcode throttle}: one rule (`limit`, `window` …) or `policies`, never both.
 *
 * @category Hono
 */
// deno-lint-ignore no-explicit-any
export type ThrottleMiddlewareOptions<C = any> =
  & ThrottleMiddlewareBaseOptions<C>
  & (
    | (ThrottleRule & { readonly policies?: undefined })
    | ({ readonly [Name in keyof ThrottleRule]?: undefined } & { readonly policies: ThrottlePolicies<C> })
  );

/**
 * `new Hono<{ Variables: ThrottleVariables }>()` makes `c.var.throttle` typed; a chain infers it.
 *
 * @category Hono
 */
export interface ThrottleVariables {
  /** The decision; `undefined` when no policy applied. */
  throttle: ThrottleDecision | undefined;
}

/**
 * Answers requests that come too often with a 429, `Retry-After` and problem+json, and tells every client its
 * quota, on every kind of response; see `withThrottle`. A request that meets one instance twice, on the app
 * and on its route, counts once.
 *
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
// deno-lint-ignore no-explicit-any
export function throttle<E extends HonoEnv = any>(
  options: ThrottleMiddlewareOptions<HonoContext<E>>,
): HonoMiddleware<E, ThrottleVariables> {
  const helper = throttleHelper<RouteContext>(
    mapOptions(options as ThrottleMiddlewareOptions, ({ key, skip, cost, costAfter, policies }) => ({
      key: ofContext(key),
      skip: ofContext(skip),
      cost: typeof cost === "function" ? ofContext(cost) : cost,
      costAfter: typeof costAfter === "function"
        ? (_response: Response, _request: Request, c: RouteContext) => costAfter(c)
        : costAfter,
      policies: typeof policies === "function" ? ofContext(policies) : policies,
    })) as HttpThrottleOptions<RouteContext>,
  );
  return (function throttle(c: RouteContext, next: () => Promise<void>) {
    return pass(c, next, "throttle", helper);
  }) as HonoMiddleware<E, ThrottleVariables>;
}
