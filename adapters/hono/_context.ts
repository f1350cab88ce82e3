/**
 * What we use of Hono, by shape: two copies of Hono (npm and JSR, or two versions) have types that refuse each other,
 * and a type-only import would make Hono everybody's dependency.
 */
import type { AtomicStore } from "../../src/store/atomic_store.ts";
import { PerBinding } from "../../src/store/binding.ts";

/** What we use of Hono's context. */
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
  /** What a handler threw, if it did. */
  error: Error | undefined;
  /** The runtime's bindings. */
  // deno-lint-ignore no-explicit-any
  env: any;
  /** What keeps the isolate alive after the response; throws where the runtime has none. */
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

/** A Hono middleware, by shape. */
export type RouteMiddleware = (
  // deno-lint-ignore no-explicit-any
  c: any,
  next: () => Promise<void>,
) => Promise<Response | void>;

/** A store, or how to get it from a request: on Workers, bindings exist only there. */
export type StoreSource = AtomicStore | ((c: RouteContext) => AtomicStore);

/** Builds what a store carries, once per binding where the store is made anew for each request. */
export function perStore<T>(source: StoreSource, build: (store: AtomicStore) => T): (c: RouteContext) => T {
  if (typeof source !== "function") {
    if (typeof source?.transact !== "function") {
      throw new TypeError("Cannot use the store as it must be an AtomicStore or a function that answers one");
    }
    const built = build(source);
    return () => built;
  }
  const known = new PerBinding<T>();
  return (c) => {
    const store = source(c);
    return known.get(store, () => build(store));
  };
}

const runtimeRequests = new WeakMap<RouteContext, Request>();

/**
 * The request as the runtime made it, seen at the first call of this for a context. A runtime knows the connection by this
 * object, so what replaces `c.req.raw` must go through {@linkcode replaceRequest}.
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

/** Lets work outlive the response where the runtime has a way; `false` where it has none. */
export function waitUntil(c: RouteContext, work: Promise<unknown>): boolean {
  try {
    c.executionCtx.waitUntil(work);
    return true;
  } catch {
    return false;
  }
}

/** The response with headers that can be changed: those of a fetched response cannot. */
export function changeable(c: RouteContext): Headers {
  try {
    c.res.headers.delete("x-holdfast-probe");
  } catch {
    c.res = new Response(c.res.body, c.res);
  }
  return c.res.headers;
}

/** Answers something else instead; what the handler's response carried is gone, cookies included. */
export function replace(c: RouteContext, response: Response): void {
  c.res = undefined as unknown as Response; // or Hono would merge the headers of both
  c.res = response;
}
