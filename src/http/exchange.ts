/**
 * One request on its way through a helper, as its framework has it. Every helper is written once over this;
 * `withX` in this folder and the middleware for Hono only make an exchange of what they are handed.
 */
import { dropRejection } from "../safely.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { PerBinding } from "../store/binding.ts";
import { checkMethods, checkStore } from "../validate.ts";

/**
 * A fetch handler. `context` is what the runtime hands over beside the request: `ctx` on Workers, Hono's `c`.
 *
 * @category HTTP
 */
export type FetchHandler<Context = unknown> = (
  request: Request,
  context: Context,
) => Response | Promise<Response>;

/** The answer of what is behind a helper. */
export interface Served {
  readonly response: Response;
  /** The error that a framework made this response of; a plain handler throws its error. */
  readonly error?: unknown;
}

/**
 * A helper: answers a request itself, or has it served and makes its answer of that one's. `serve` runs what
 * is behind it, with the value that it hands there, and is called at most once.
 */
export type Helper<Context, Value> = (
  exchange: Exchange<Context>,
  serve: (value: Value) => Promise<Served>,
) => Promise<Response>;

/** A request and what belongs to it. */
export interface Exchange<Context> {
  /** The request; a framework may replace it while it is served. */
  readonly request: Request;
  /** The context that the application's callbacks get: the runtime's context, or Hono's `c`. */
  readonly context: Context;
  /**
   * The object that all helpers around one request share, and no other request: Hono's `c`, or one of our
   * own.
   */
  readonly owner: object;
  /** The request as the runtime made it: runtimes know the connection by this object. */
  readonly original: Request;
  /** The objects in which the runtime tells the connection: its info, server, environment. */
  readonly connection: unknown;
  /** Whether what is behind would find a value of that name already. */
  has(name: string): boolean;
  /** The value of that name that what is behind would find. */
  get(name: string): unknown;
  /** Lets work outlive the response; returns `false` where the runtime has no way to. */
  waitUntil(work: Promise<unknown>): boolean;
}

/**
 * Answers the bytes of a request's body, or `undefined` when there are more than `maxBytes`; the handler still reads it.
 * Handed to the helpers that need it: the others do not carry it in their bundle.
 *
 * @throws {TypeError} with the text in `fault` when the body was read before
 */
export type BodyReader<Context> = (
  exchange: Exchange<Context>,
  maxBytes: number,
  fault: string,
) => Promise<Uint8Array<ArrayBuffer> | undefined>;

/**
 * An option that keeps the runtime alive: `(work, { ctx }) => ctx.waitUntil(work)`.
 *
 * @category HTTP
 */
export type WaitUntilOption<Context> = (work: Promise<unknown>, context: Context) => void;

/** The exchange of a plain fetch handler. */
export function fetchExchange<Context>(
  request: Request,
  context: Context,
  waitUntil: WaitUntilOption<Context> | undefined,
): Exchange<Context> {
  const keep = waitUntilOf(context, waitUntil);
  return {
    request,
    context,
    owner: memberOf(context, OWNER) as object | undefined ?? {},
    original: request,
    connection: context,
    has: (name) => memberOf(context, name) !== undefined,
    get: (name) => memberOf(context, name),
    waitUntil: (work) => keep !== undefined && (keep(work), true),
  };
}

/** Runs a helper around a fetch handler; what it hands to the handler is a member of the context. */
export function around<Context, Value>(
  handler: FetchHandler<never>,
  name: string,
  waitUntil: WaitUntilOption<Context> | undefined,
  helper: Helper<Context, Value>,
): (request: Request, context?: Context) => Promise<Response> {
  checkMethods("wrap the handler", "it must be a function", handler, ["call"]);
  return async (request, given) => {
    const context = given as Context;
    const exchange = fetchExchange(request, context, waitUntil);
    return await helper(exchange, async (value) => {
      // What hands nothing over hides nothing either: the same helper may stand around this one.
      const taken = value === undefined && memberOf(context, name) !== undefined;
      const own = taken ? context : extendContext(context, { [name]: value, [OWNER]: exchange.owner });
      return { response: checkResponse(await handler(request, own as never)) };
    });
  };
}

/**
 * The answer of a handler.
 *
 * @throws {TypeError} when it is no response: a `return` is missing
 */
export function checkResponse(response: Response): Response {
  // By its methods: where an app has a fetch of its own, another class of that name is one, too.
  checkMethods("wrap the handler", "it must return a Response", response, ["clone"]);
  return response;
}

interface Waiting {
  waitUntil?(work: Promise<unknown>): void;
}

/**
 * The member of a context that helpers around one request share. The request itself would not do: a test, or
 * what repeats a request, may hand the same object in again.
 */
const OWNER = Symbol("holdfast.owner");

function memberOf(context: unknown, name: string | symbol): unknown {
  return (Object(context) as Record<string | symbol, unknown>)[name];
}

/**
 * The way to let work outlive the response: the option, or where platforms have it, which is the context
 * itself, the `ctx` of `{ env, ctx }`, and SvelteKit's `event.platform`. `undefined` where there is none.
 */
export function waitUntilOf<Context>(
  context: Context,
  waitUntil: WaitUntilOption<Context> | undefined,
): ((work: Promise<unknown>) => void) | undefined {
  if (waitUntil) return (work) => void dropRejection(waitUntil(work, context));
  const { ctx, executionCtx, platform } = Object(context) as {
    readonly ctx?: Waiting;
    readonly executionCtx?: Waiting;
    readonly platform?: { readonly ctx?: Waiting; readonly context?: Waiting };
  };
  for (const holder of [context as Waiting, ctx, executionCtx, platform?.ctx, platform?.context]) {
    if (typeof holder?.waitUntil !== "function") continue;
    return (work) => holder.waitUntil!(work); // as a method: a runtime's own refuses another `this`
  }
  return undefined;
}

/** The target of a view: no plain object, so that a view of a view is one, too. */
class View {}

/**
 * The context with more members. A plain object is copied, its getters unread: Astro's `clientAddress` throws
 * where there is none. Objects of a runtime (Workers' `ctx`, Bun's server) have methods and getters that
 * refuse another `this`, so those are reached through a view.
 */
function extendContext<Context, More extends object>(context: Context, more: More): Context & More {
  if (typeof context !== "object" || context === null) return { ...more } as Context & More;
  const prototype = Object.getPrototypeOf(context);
  if (prototype === Object.prototype || prototype === null) {
    const descriptors = Object.getOwnPropertyDescriptors;
    return Object.defineProperties({}, { ...descriptors(context), ...descriptors(more) }) as Context & More;
  }
  return new Proxy(new View() as Context & More, {
    get(_target, name) {
      if (Object.hasOwn(more, name)) return Reflect.get(more, name);
      const value = Reflect.get(context, name);
      return typeof value === "function" ? value.bind(context) : value;
    },
    has: (_target, name) => Object.hasOwn(more, name) || Reflect.has(context, name),
  });
}

/**
 * A store, or a function that makes it of a request's context: on Workers, bindings exist only there.
 *
 * @category HTTP
 */
export type ContextStore<Context> = AtomicStore | ((context: Context) => AtomicStore);

/**
 * Builds a contract over a store, once per binding where the store is made anew for each request.
 *
 * The contract keeps the store of the first request. That is safe while an engine keeps only its binding or
 * client and plain data: a binding lives as long as the isolate. What belongs to a request (a Durable
 * Object's stub, a pending call) must not be kept by an engine; a contract that cannot rely on it is built
 * per request instead, as the throttle's is.
 */
export function perStore<Context, T>(
  source: ContextStore<Context>,
  build: (store: AtomicStore) => T,
): (context: Context) => T {
  if (typeof source !== "function") {
    checkStore("use 'store'", source);
    const built = build(source);
    return () => built;
  }
  const known = new PerBinding<T>();
  return (context) => {
    const store = storeOf(source, context);
    return known.get(store, () => build(store));
  };
}

/**
 * The store that a function makes of a request.
 *
 * @throws {TypeError} when it made none: nothing, a promise (the function must not be async), another store
 */
export function storeOf<Context>(source: (context: Context) => AtomicStore, context: Context): AtomicStore {
  const store = source(context);
  checkStore("use what 'store' returned", store);
  return store;
}
