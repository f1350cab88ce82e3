/** Between Hono's context and the helpers of `src/http`, which are written over an exchange. */
import type { Exchange, Helper } from "../../src/http/exchange.ts";
import { answerToLeft, replace, type RouteContext, runtimeRequest, waitUntil } from "./_context.ts";

/** A request that comes through Hono. One object a request: its methods stand on the prototype. */
class HonoExchange<C extends RouteContext> implements Exchange<C> {
  readonly context: C;

  constructor(c: C) {
    this.context = c;
  }

  get request(): Request {
    return this.context.req.raw;
  }

  get owner(): object {
    return this.context;
  }

  get original(): Request {
    return runtimeRequest(this.context);
  }

  get connection(): unknown {
    return this.context.env;
  }

  has(name: string): boolean {
    return this.context.get(name) !== undefined;
  }

  get(name: string): unknown {
    return this.context.get(name);
  }

  waitUntil(work: Promise<unknown>): boolean {
    return waitUntil(this.context, work);
  }
}

/** The exchange of a request that comes through Hono. */
export function honoExchange<C extends RouteContext>(c: C): Exchange<C> {
  return new HonoExchange(c);
}

/**
 * Runs a helper as a middleware. What it hands to the routes is a variable of that name. An answer of its own
 * is returned, so that Hono merges the headers that outer middleware has set before; an answer that it makes
 * of the routes' replaces theirs.
 */
export async function pass<Value>(
  c: RouteContext,
  next: () => Promise<void>,
  name: string,
  helper: Helper<RouteContext, Value>,
): Promise<Response | void> {
  let served: Response | undefined;
  let response: Response;
  try {
    response = await helper(honoExchange(c), async (value) => {
      if (value !== undefined) c.set(name, value);
      await next();
      return { response: served = c.res, error: c.error };
    });
  } catch (error) {
    response = answerToLeft(c.req.raw, error);
  }
  if (served === undefined) return response;
  if (response !== served) replace(c, response);
}

/** Kept by callback: two middleware of equal options are one, and options are compared by identity. */
const mapped = new WeakMap<object, unknown>();

/**
 * A callback that takes Hono's context, as one of a fetch handler. What is no function is handed on, for the
 * check that says so.
 */
export function ofContext<Rest extends unknown[], Result>(
  // deno-lint-ignore no-explicit-any
  callback: ((c: any, ...rest: Rest) => Result) | undefined,
): ((request: Request, c: RouteContext, ...rest: Rest) => Result) | undefined {
  if (typeof callback !== "function") return callback;
  const known = mapped.get(callback) ??
    ((_request: Request, c: RouteContext, ...rest: Rest) => callback(c, ...rest));
  mapped.set(callback, known);
  return known as (request: Request, c: RouteContext, ...rest: Rest) => Result;
}

/** The options with some of them mapped. What is no object is handed on, for the check that says so. */
export function mapOptions<Options>(options: Options, map: (options: Options) => object): Options | object {
  return typeof options === "object" && options !== null && !Array.isArray(options)
    ? { ...options, ...map(options) }
    : options;
}
