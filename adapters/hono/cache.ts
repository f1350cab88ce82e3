import {
  cachedHandler,
  type HttpCacheBaseOptions,
  type HttpCacheOptions,
  type HttpCacheSource,
} from "../../src/http/http_cache.ts";
import {
  answerToLeft,
  replace,
  replaceRequest,
  type RouteContext,
  type RouteMiddleware,
  waitUntil,
} from "./_context.ts";

/**
 * Options of {@linkcode cache} besides its `store` or `cache`: those of {@linkcode withCache}, with Hono's
 * context.
 *
 * @category Hono
 */
export interface CacheMiddlewareBaseOptions extends
  // deno-lint-ignore no-explicit-any
  Omit<HttpCacheBaseOptions<any>, "waitUntil" | "staleWhileRevalidate"> {
  /**
   * Answers a request afresh, for `stale-while-revalidate`:
   * `(request, c) => app.fetch(request, c.env, c.executionCtx)`. Hono's context serves one answer, so without
   * this the request that finds a stale response waits for the fresh one.
   */
  // deno-lint-ignore no-explicit-any
  readonly revalidate?: ((request: Request, c: any) => Response | Promise<Response>) | undefined;
}

/**
 * Options of {@linkcode cache}: either a `store` or a `cache`, never both.
 *
 * @category Hono
 */
// deno-lint-ignore no-explicit-any
export type CacheMiddlewareOptions = CacheMiddlewareBaseOptions & HttpCacheSource<any>;

/**
 * A shared cache of whole responses in front of the routes behind it, under RFC 9111; see
 * {@linkcode withCache}.
 *
 * @throws {TypeError} for unknown options, and where neither a store nor a cache is given
 * @category Hono
 * @example
 * ```ts
 * import { Hono } from "hono";
 * import { memoryStore } from "@holdfast/edge";
 * import { cache } from "@holdfast/edge/hono";
 *
 * const app = new Hono();
 * app.use("/products/*", cache({ store: memoryStore(), ttl: "1m" }));
 * app.get("/products/rope", (c) => c.text("a rope"));
 * ```
 */
export function cache(given: CacheMiddlewareOptions): RouteMiddleware {
  const { revalidate, store, ...options } = Object(given) as CacheMiddlewareOptions;
  if (revalidate !== undefined && typeof revalidate !== "function") {
    throw new TypeError("Cannot cache responses as 'revalidate' must be a function");
  }
  const fills = new WeakSet<Request>(); // requests that are fills themselves: they pass
  const handler = cachedHandler<Exchange>(
    async (request, exchange) => {
      if (revalidate) return await revalidate((fills.add(request), request), exchange.c);
      return await (exchange.asked = askRoutes(request, exchange));
    },
    {
      ...options,
      store: typeof store === "function" ? ({ c }) => store(c) : store,
      waitUntil: (work, { c }) => void waitUntil(c, work),
      staleWhileRevalidate: revalidate !== undefined,
    } as HttpCacheOptions<Exchange>,
  );
  return async function cache(c: RouteContext, next: () => Promise<void>): Promise<Response | void> {
    if (fills.has(c.req.raw)) return await next();
    const exchange: Exchange = { c, next };
    const { raw } = c.req;
    try {
      replace(c, await handler(raw, exchange, c));
    } catch (error) {
      const answer = answerToLeft(raw, error);
      // The routes fill for those who wait, and leave their answer in this context: until then it must stay
      // as it is.
      await exchange.asked?.catch(() => {});
      replace(c, answer);
    }
  };
}

/** One request, and the routes' answer once they were asked. */
interface Exchange {
  readonly c: RouteContext;
  readonly next: () => Promise<void>;
  asked?: Promise<Response>;
}

/** The answer of the routes behind; they see the conditional request. */
async function askRoutes(request: Request, { c, next }: Exchange): Promise<Response> {
  const { raw } = c.req;
  replaceRequest(c, request);
  await next().finally(() => replaceRequest(c, raw));
  return c.res;
}
