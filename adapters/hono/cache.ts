import { type HttpCacheOptions, withCache } from "../../src/http/http_cache.ts";
import { replace, type RouteContext, type RouteMiddleware, waitUntil } from "./_context.ts";

/** Options of {@linkcode cache}: those of {@linkcode withCache}, with Hono's context. */
// deno-lint-ignore no-explicit-any
export interface CacheMiddlewareOptions
  extends Omit<HttpCacheOptions<any>, "waitUntil" | "staleWhileRevalidate"> {
  /**
   * Answers a request afresh, for `stale-while-revalidate`: `(request, c) => app.fetch(request, c.env, c.executionCtx)`.
   * Hono's context serves one answer, so without this the request that finds a stale response waits for the fresh one.
   */
  // deno-lint-ignore no-explicit-any
  readonly revalidate?: ((request: Request, c: any) => Response | Promise<Response>) | undefined;
}

/**
 * A shared cache of whole responses in front of the routes behind it, under RFC 9111; see {@linkcode withCache}.
 *
 * @throws {TypeError} for unknown options, and where neither a store nor a cache is given
 * @example
 * ```ts
 * import { Hono } from "hono";
 * import { memoryStore } from "@holdfast/edge";
 * import { cache } from "@holdfast/edge/hono";
 *
 * const app = new Hono();
 * app.use("/products/*", cache({ store: memoryStore(), ttl: "1m" }));
 * let asked = 0;
 * app.get("/products/rope", (c) => c.text(`rope, asked ${++asked} times`));
 * const texts = [await app.request("/products/rope"), await app.request("/products/rope")].map((r) => r.text());
 * if (new Set(await Promise.all(texts)).size !== 1) throw new Error("unexpected");
 * ```
 */
export function cache(options: CacheMiddlewareOptions): RouteMiddleware {
  const { revalidate, ...rest } = options;
  if (revalidate !== undefined && typeof revalidate !== "function") {
    throw new TypeError(
      `Cannot cache responses as 'revalidate' must be a function: current type is ${typeof revalidate}`,
    );
  }
  /** Requests that are fills themselves: they pass. */
  const fills = new WeakSet<Request>();
  const afresh = async (request: Request, c: RouteContext) => {
    fills.add(request);
    return await revalidate!(request, c);
  };
  const inPlace = async (request: Request, { c, next }: { c: RouteContext; next: () => Promise<void> }) => {
    const { raw } = c.req;
    (c.req as { raw: Request }).raw = request;
    try {
      await next();
    } finally {
      (c.req as { raw: Request }).raw = raw;
    }
    return c.res;
  };
  const { store } = rest;
  const handler = withCache<{ c: RouteContext; next: () => Promise<void> }>(
    (request, context) => revalidate ? afresh(request, context.c) : inPlace(request, context),
    {
      ...rest,
      ...(typeof store === "function" && { store: ({ c }) => store(c) }),
      waitUntil: (work, { c }) => void waitUntil(c, work),
      staleWhileRevalidate: revalidate !== undefined,
    },
  );
  return async function cache(c: RouteContext, next: () => Promise<void>): Promise<Response | void> {
    if (fills.has(c.req.raw)) return await next();
    const response = await handler(c.req.raw, { c, next });
    replace(c, response);
  };
}
