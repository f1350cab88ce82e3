/** Hono by shape: what is used of it at run time. Two copies of Hono have types that refuse each other. */
import { RequestValues } from "../../src/http/request_values.ts";
import type { AtomicStore } from "../../src/store/atomic_store.ts";

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
 * A Hono handler, by shape.
 *
 * @category Hono
 */
// deno-lint-ignore no-explicit-any
export type RouteHandler = (c: any) => Promise<Response>;

/**
 * A store, or a function that makes it of a request: on Workers, bindings exist only there.
 *
 * @category Hono
 */
export type StoreSource<C = RouteContext> = AtomicStore | ((c: C) => AtomicStore);

const runtimeRequests = /* @__PURE__ */ new RequestValues<Request>();

/**
 * The request as the runtime made it. A runtime knows the connection by this object, so middleware that
 * replaces `c.req.raw` calls {@linkcode replaceRequest}.
 */
export function runtimeRequest(c: RouteContext): Request {
  return runtimeRequests.get(c) ?? c.req.raw;
}

/** Gives later readers another request, and keeps the runtime's own for {@linkcode runtimeRequest}. */
export function replaceRequest(c: RouteContext, request: Request): void {
  runtimeRequests.set(c, runtimeRequest(c));
  (c.req as { raw: Request }).raw = request;
}

/** A request that is made at the first look at it. */
export interface StandIn {
  /** Makes the request. */
  readonly make: () => Request;
  /** Called when another middleware puts a request of its own in its place. */
  readonly replaced: () => void;
  made?: Request;
}

const standIns = /* @__PURE__ */ new RequestValues<StandIn>();

// One descriptor for all requests: with accessors of its own each request would have a shape of its own,
// which the collector keeps for long.
const STAND_IN: PropertyDescriptor & ThisType<object> = {
  configurable: true,
  enumerable: true,
  get() {
    const standIn = standIns.get(this)!;
    return standIn.made ??= standIn.make();
  },
  set(value: Request) {
    Object.defineProperty(this, "raw", { configurable: true, enumerable: true, writable: true, value });
    standIns.get(this)!.replaced();
  },
};

/**
 * Puts a request in the place of Hono's own, which is made at the first look at it: most routes never look.
 */
export function standInFor(c: RouteContext, standIn: StandIn): void {
  runtimeRequests.set(c, runtimeRequest(c));
  standIns.set(c.req, standIn);
  Object.defineProperty(c.req, "raw", STAND_IN);
}

/**
 * Lets work outlive the response; returns `false` where the runtime has no way to. The servers of Node, Deno
 * and Bun have none and need none. They are known by what they hand over as `c.env`: Hono's getter would
 * throw, and an error with its stack costs a tenth of the request.
 */
export function waitUntil(c: RouteContext, work: Promise<unknown>): boolean {
  const env: object = Object(c.env);
  if ("incoming" in env || "remoteAddr" in env || "requestIP" in env) return false;
  try {
    c.executionCtx.waitUntil(work);
    return true;
  } catch {
    return false; // Hono throws where there is no such context
  }
}

/** Replaces the response, cookies included. */
export function replace(c: RouteContext, response: Response): void {
  c.res = undefined as unknown as Response; // or Hono would merge the headers of both
  c.res = response;
}

/**
 * The answer to a request whose client left while it waited, where `error` says no more than that. It is no
 * fault: `app.onError` is not to hear of it. No client reads the answer; a log shows its status, as nginx has
 * it.
 *
 * @throws every other error, as it is
 */
export function answerToLeft({ signal }: Request, error: unknown): Response {
  if (signal.aborted && error === signal.reason) return new Response(null, { status: 499 });
  throw error;
}
