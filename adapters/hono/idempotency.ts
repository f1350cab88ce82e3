import type { ClaimedRequest, HttpIdempotencyOptions } from "../../src/http/http_idempotency.ts";
import { idempotencyHelper } from "../../src/http/with_idempotency.ts";
import type { RouteContext, StoreSource } from "./_context.ts";
import { mapOptions, ofContext, pass } from "./_exchange.ts";
import { readRouteBody } from "./_request_body.ts";
import type { HonoContext, HonoEnv, HonoMiddleware } from "./_hono_types.ts";

/**
 * Options of {@linkcode idempotency}: those of `withIdempotency`, with callbacks of Hono's context.
 *
 * @category Hono
 */
// deno-lint-ignore no-explicit-any
export interface IdempotencyMiddlewareOptions<C = any>
  extends Omit<HttpIdempotencyOptions, "store" | "scope" | "fingerprint" | "waitUntil"> {
  /** The store of the keys, or how to get it from a request. */
  readonly store: StoreSource<C>;
  /**
   * The caller that a key belongs to, or `"public"`; see `withIdempotency`. Mount this after what tells who
   * calls.
   */
  readonly scope: "public" | ((c: C) => string | Promise<string>);
  /** Tells which requests are the same; see `withIdempotency`. */
  readonly fingerprint?: ((c: C, body: Uint8Array<ArrayBuffer>) => string | Promise<string>) | undefined;
}

/**
 * `new Hono<{ Variables: IdempotencyVariables }>()` makes `c.var.idempotency` typed; a chain infers it.
 *
 * @category Hono
 */
export interface IdempotencyVariables {
  /** This request's claim; there is none where a request passes without a key (`required: false`, a GET). */
  idempotency: ClaimedRequest;
}

/**
 * Serves a request once per Idempotency-Key; duplicates get the first answer; see `withIdempotency`.
 *
 * @throws {TypeError | RangeError} when an option is unknown or out of its range
 * @category Hono
 * @example
 * ```ts
 * import { Hono } from "hono";
 * import { memoryStore } from "@holdfast/edge";
 * import { idempotency } from "@holdfast/edge/hono";
 *
 * let charges = 0;
 * const app = new Hono();
 * app.post(
 *   "/payments",
 *   idempotency({ store: memoryStore(), scope: "public" }),
 *   (c) => c.json({ charge: ++charges }),
 * );
 * const headers = { "Idempotency-Key": '"order-17"' };
 * const pay = () => app.request("/payments", { method: "POST", headers });
 * await pay();
 * const second = await pay();
 * const replayed = second.headers.get("idempotency-replayed") === "true";
 * if (charges !== 1 || !replayed) throw new Error("charged twice");
 * ```
 */
// deno-lint-ignore no-explicit-any
export function idempotency<E extends HonoEnv = any>(
  options: IdempotencyMiddlewareOptions<HonoContext<E>>,
): HonoMiddleware<E, IdempotencyVariables> {
  const helper = idempotencyHelper<RouteContext>(
    mapOptions(options as IdempotencyMiddlewareOptions, ({ scope, fingerprint }) => ({
      scope: typeof scope === "function" ? ofContext(scope) : scope,
      fingerprint: ofContext(fingerprint),
    })) as HttpIdempotencyOptions<RouteContext>,
    readRouteBody,
  );
  return (function idempotency(c: RouteContext, next: () => Promise<void>) {
    return pass(c, next, "idempotency", helper);
  }) as HonoMiddleware<E, IdempotencyVariables>;
}
