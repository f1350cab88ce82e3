/**
 * Hono's types by shape: two copies of Hono (npm and JSR, or two versions) have types that refuse each
 * other, and a type-only import would make Hono a dependency of every user.
 */
import type { AtomicStore } from "../../src/store/atomic_store.ts";
import { PerBinding } from "../../src/store/binding.ts";
import { checkStore } from "../../src/validate.ts";

/**
 * The part of Hono's context that the middleware uses.
 *
 * @category Hono
 */
export interface RouteContext {
  /** The request. */
  readonly req: {
    /** The runtime's own request. */
    readonly raw: Request;
    /** Its method. */
    readonly method: string;
    /** Its path. */
    readonly path: string;
    /** Its URL. */
    readonly url: string;
    /** Reads a header. */
    header(name: string): string | undefined;
    /** Reads the body; later readers get it too. */
    arrayBuffer(): Promise<ArrayBuffer>;
  };
  /** The response; a placeholder until the handler ran. */
  res: Response;
  /** The error that a handler threw. */
  error: Error | undefined;
  /** The runtime's bindings. */
  // deno-lint-ignore no-explicit-any
  env: any;
  /** The runtime's execution context; reading it throws where the runtime has none. */
  readonly executionCtx: {
    /** Lets work outlive the response. */
    waitUntil(work: Promise<unknown>): void;
  };
  /** Reads a variable. */
  // deno-lint-ignore no-explicit-any
  get: (key: any) => any;
  /** Sets a variable. */
  // deno-lint-ignore no-explicit-any
  set: (key: any, value: any) => void;
  /** Variables. */
  // deno-lint-ignore no-explicit-any
  readonly var: any;
}

/**
 * A Hono middleware, by shape.
 *
 * @category Hono
 */
export type RouteMiddleware = (
  // deno-lint-ignore no-explicit-any
  c: any,
  next: () => Promise<void>,
) => Promise<Response | void>;

/**
 * A store, or a function that makes it of a request: on Workers, bindings exist only there.
 *
 * @category Hono
 */
export type StoreSource = AtomicStore | ((c: RouteContext) => AtomicStore);

/**
 * Builds a contract over a store, once per binding where the store is made anew for each request.
 *
 * The contract keeps the store of the first request. That is safe while an engine keeps only its binding or
 * client and plain data: a binding lives as long as the isolate. What belongs to a request (a Durable
 * Object's stub, a pending call) must not be kept by an engine; a contract that cannot rely on it is built
 * per request instead, as `throttle()` does.
 */
export function perStore<T>(source: StoreSource, build: (store: AtomicStore) => T): (c: RouteContext) => T {
  if (typeof source !== "function") {
    checkStore("use 'store'", source);
    const built = build(source);
    return () => built;
  }
  const known = new PerBinding<T>();
  return (c) => {
    const store = storeOf(source, c);
    return known.get(store, () => build(store));
  };
}

/**
 * The store that a function makes of a request.
 *
 * @throws {TypeError} when it made none: nothing, a promise (the function must not be async), another store
 */
export function storeOf(source: (c: RouteContext) => AtomicStore, c: RouteContext): AtomicStore {
  const store = source(c);
  checkStore("use what 'store' returned", store);
  return store;
}

const runtimeRequests = new WeakMap<RouteContext, Request>();

/**
 * The request as the runtime made it, seen at the first call of this for a context. A runtime knows the
 * connection by this object, so what replaces `c.req.raw` must go through {@linkcode replaceRequest}.
 */
export function runtimeRequest(c: RouteContext): Request {
  let request = runtimeRequests.get(c);
  if (request === undefined) runtimeRequests.set(c, request = c.req.raw);
  return request;
}

/** Gives later readers another request, and keeps the runtime's own for {@linkcode runtimeRequest}. */
export function replaceRequest(c: RouteContext, request: Request): void {
  runtimeRequest(c);
  (c.req as { raw: Request }).raw = request;
}

/** Lets work outlive the response; returns `false` where the runtime has no way to. */
export function waitUntil(c: RouteContext, work: Promise<unknown>): boolean {
  try {
    c.executionCtx.waitUntil(work);
    return true;
  } catch {
    return false;
  }
}

/** The headers of the response, which can be changed: a fetched response is copied first. */
export function changeable(c: RouteContext): Headers {
  try {
    c.res.headers.delete("x-holdfast-probe");
  } catch {
    c.res = new Response(c.res.body, c.res);
  }
  return c.res.headers;
}

/** Replaces the response, cookies included. */
export function replace(c: RouteContext, response: Response): void {
  c.res = undefined as unknown as Response; // or Hono would merge the headers of both
  c.res = response;
}
