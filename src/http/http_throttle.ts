/**
 * The contract of a throttle around a fetch handler.
 *
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { withThrottle } from "@holdfast/edge/http";
 *
 * const handler = withThrottle((_request, { throttle }) => new Response(`${throttle?.remaining} left`), {
 *   store: memoryStore(),
 *   name: "api",
 *   limit: 100,
 *   window: "1m",
 *   key: () => "all visitors together",
 * });
 * const response = await handler(new Request("https://example.com/"));
 * if (await response.text() !== "99 left") throw new Error("unexpected");
 * ```
 *
 * @module
 */
import type {
  ThrottleBaseOptions,
  ThrottleDecision,
  ThrottlePolicy,
  ThrottleRule,
} from "../throttle/throttle.ts";
import type { ClientAddressOptions } from "./client_address.ts";
import type { ContextStore } from "./exchange.ts";
import type { RateLimitHeaders } from "./ratelimit_fields.ts";

export type { RateLimitHeaders };

/**
 * Policies, or a function that makes them for each request; an empty list lets the request pass without a
 * check.
 *
 * @category HTTP
 */
export type HttpThrottlePolicies<Context = unknown> =
  | readonly ThrottlePolicy[]
  | ((
    request: Request,
    context: Context,
  ) => readonly ThrottlePolicy[] | Promise<readonly ThrottlePolicy[]>);

/**
 * Options of {@linkcode withThrottle} besides the policies.
 *
 * @category HTTP
 */
export interface HttpThrottleBaseOptions<Context = unknown>
  extends ThrottleBaseOptions, ClientAddressOptions {
  /**
   * The store of the counters, or a function that makes it of the context (on Workers, bindings exist only
   * in a request). The deny cache is kept per binding, so a store that is made anew for each request finds it
   * again.
   */
  readonly store: ContextStore<Context>;
  /**
   * Called with every fault: of the store, whether it is thrown or decided by `whenUnavailable`, and of
   * requests that cannot be counted as `cost` returned no cost. That the client's address is unknown is told
   * once.
   */
  readonly onFault?: ((error: unknown) => void) | undefined;
  /**
   * The key of the counter, for example a user's id. An empty or ill-formed key is answered with a 400, a
   * long one is hashed, and anything but a string is a `TypeError`.
   *
   * By default the address of the client as the runtime knows it (IPv6 by `ipv6Prefix`). `X-Forwarded-For` is
   * trusted only as far as `trustedProxies` says. A runtime that tells no address (Vercel, AWS Lambda, a
   * Unix socket) needs `platform` or `key`: without, every request fails with a `misconfigured` error.
   * @default {the client's address}
   */
  readonly key?: ((request: Request, context: Context) => string | Promise<string>) | undefined;
  /**
   * Lets a request pass without a check and without I/O.
   * @default {none}
   */
  readonly skip?: ((request: Request, context: Context) => boolean | Promise<boolean>) | undefined;
  /**
   * The units that a request takes, an integer of at least 0. With 0 it takes nothing, and passes unless
   * its key is blocked. A function that returns another number has its request answered with a 400.
   * @default {1}
   */
  readonly cost?: number | ((request: Request, context: Context) => number) | undefined;
  /**
   * The units that the request took, once its answer is known: 0 for all but failed logins, or a weight.
   * `cost` is taken before the handler runs, so that no crowd of parallel requests passes; what was too much
   * is given back, and what was too little is taken as far as it is there. An answer that a handler threw is
   * a failure: it keeps `cost`. A number that is no cost is told to `onFault` and changes nothing.
   */
  readonly costAfter?: ((response: Response, request: Request, context: Context) => number) | undefined;
  /**
   * The header fields that tell a client its quota.
   * @default {"draft-11"}
   */
  readonly headers?: RateLimitHeaders | undefined;
}

/**
 * Options of {@linkcode withThrottle}: one rule (`limit`, `window` …) or `policies`, never both.
 *
 * @category HTTP
 */
export type HttpThrottleOptions<Context = unknown> =
  & HttpThrottleBaseOptions<Context>
  & (
    | (ThrottleRule & { readonly policies?: undefined })
    | (
      & { readonly [Name in keyof ThrottleRule]?: undefined }
      & { readonly policies: HttpThrottlePolicies<Context> }
    )
  );

/**
 * The values that {@linkcode withThrottle} adds to the handler's context.
 *
 * @category HTTP
 */
export interface ThrottleContext {
  /** The decision; `undefined` when no policy applied. */
  readonly throttle: ThrottleDecision | undefined;
}
