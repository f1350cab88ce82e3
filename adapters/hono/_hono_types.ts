/**
 * Hono's own types, for inference alone: a chain `new Hono().use(session(…)).get("/", (c) => c.var.session)`
 * infers a variable only from Hono's `MiddlewareHandler`. Nothing of it is left at run time, and this is the
 * one file that names the package.
 */
import type { Context, Env, MiddlewareHandler } from "hono";
import type { RouteMiddleware } from "./_context.ts";

/**
 * The environment of a Hono app: its bindings and variables.
 *
 * @internal Hono documents the type.
 * @category Hono
 */
export type HonoEnv = Env;

/**
 * The context that callbacks of options are handed: typed where the app's environment is given,
 * `throttle<AppEnv>({ key: (c) => c.env.REGION, … })`, otherwise anything.
 *
 * @internal Hono documents the type.
 * @category Hono
 */
// deno-lint-ignore no-explicit-any
export type HonoContext<E extends Env> = 0 extends 1 & E ? any : Context<E>;

/**
 * A Hono middleware that hands variables on. The order of the two counts: another copy of Hono accepts it by
 * the first, and inference reads the last.
 *
 * @internal Hono documents the type.
 * @category Hono
 */
export type HonoMiddleware<E extends Env, Variables extends object> =
  & RouteMiddleware
  & MiddlewareHandler<0 extends 1 & E ? { Variables: Variables } : E & { Variables: Variables }>;
