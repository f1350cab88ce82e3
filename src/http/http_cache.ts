/**
 * A shared HTTP cache (RFC 9111) around a fetch handler, for plain Workers, `Deno.serve`, Bun, Next,
 * SvelteKit or Astro.
 *
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { withCache } from "@holdfast/edge/http";
 *
 * let asked = 0;
 * const handler = withCache(
 *   () => new Response(`answer ${++asked}`, { headers: { "cache-control": "max-age=60" } }),
 *   { store: memoryStore() },
 * );
 * const texts = [1, 2].map(async () => await (await handler(new Request("https://example.com/"))).text());
 * if ((await Promise.all(texts)).join() !== "answer 1,answer 1") throw new Error("unexpected");
 * ```
 *
 * @module
 */
import type { Cache, CacheAnswer, CacheOptions, FillContext } from "../cache/cache.ts";
import { checkTags } from "../cache/cache_plan.ts";
import { createCache } from "../cache/create_cache.ts";
import { type Clock, systemClock } from "../clock.ts";
import { deferred } from "../deferred.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { isOutage } from "../fault_class.ts";
import { type HeaderFields, withFields, withTextType } from "../response.ts";
import { safely } from "../safely.ts";
import { randomToken, sha256 } from "../secret.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { PerBinding } from "../store/binding.ts";
import {
  checkFunction,
  checkInteger,
  checkOneOf,
  checkOptionNames,
  checkStore,
  type OptionNames,
  shown,
} from "../validate.ts";
import {
  answerTo,
  type CachedResponse,
  cachedResponse,
  isNotModified,
  matches,
  notModified,
  storedHeaders,
  updatedHeaders,
  validating,
} from "./cached_response.ts";
import {
  type PolicyOptions,
  type RequestWishes,
  requestWishes,
  storability,
  timesLeft,
} from "./cache_policy.ts";
import { checkResponse, type ContextStore, type FetchHandler, storeOf, waitUntilOf } from "./exchange.ts";
import { sameOptions } from "./_same_options.ts";
import { fillingOptions, isPersonal, noteFilling } from "./request_notes.ts";
import { ResponseTee, type TeeOutcome } from "./response_tee.ts";

/**
 * Options of {@linkcode withCache} besides its `store` or `cache`.
 *
 * @category HTTP
 */
export interface HttpCacheBaseOptions<Context = unknown> {
  /**
   * The namespace of the cache on `store`.
   * @default {"http"}
   */
  readonly name?: string | undefined;
  /**
   * The key of a request: what has another key is another resource.
   * @default {the URL without its fragment}
   */
  readonly key?: ((request: Request) => string | Promise<string>) | undefined;
  /** The tags of a request's response, for `invalidateTags`; the response carries them in `Cache-Tag`. */
  readonly tags?: ((request: Request) => readonly string[]) | undefined;
  /**
   * The time for which a response is fresh that says nothing about it. Without it, such a response is not
   * fresh at all.
   */
  readonly ttl?: Duration | undefined;
  /** Guesses freshness from `Last-Modified`: a tenth of the time since then, at most this long. */
  readonly heuristics?: Duration | undefined;
  /**
   * The time for which a response with a validator is kept beyond its freshness, to be validated.
   * @default {"1h"}
   */
  readonly retention?: Duration | undefined;
  /**
   * The largest body that is kept, in bytes; the engine's own bound holds too. A larger one is passed on.
   * @default {1_048_576}
   */
  readonly maxBody?: number | undefined;
  /**
   * The longest that a body may take to be kept.
   * @default {"30s"}
   */
  readonly bodyTimeout?: Duration | undefined;
  /**
   * The longest that a handler may take while other requests wait for its answer. Then its request's signal
   * aborts, and the next request asks anew; the request that asked waits on for its own answer.
   * @default {"1m"}
   */
  readonly fillTimeout?: Duration | undefined;
  /**
   * The fate of a response with `Set-Cookie`: `"pass"`: it is not kept; `"strip"`: it is kept, without its
   * cookies for all but the first; `"store"`: everyone gets the first one's cookie, as RFC 9111 §7.3 allows.
   * @default {"pass"}
   */
  readonly whenSetCookie?: "pass" | "strip" | "store" | undefined;
  /**
   * Whether a request's Cache-Control is honoured: a client's reload asks the handler again, once for all
   * that reload meanwhile. `no-store` and `only-if-cached` are honoured always.
   * @default {true}
   */
  readonly clientDirectives?: boolean | undefined;
  /**
   * Whether a response's `stale-while-revalidate` is followed: a stale response is answered while the handler
   * is asked in the background. Only where the handler may run when its request was answered already.
   * @default {true}
   */
  readonly staleWhileRevalidate?: boolean | undefined;
  /**
   * Lets work outlive a response; by default the context's own `waitUntil`, or its `ctx`'s, where it has one.
   */
  readonly waitUntil?: ((work: Promise<unknown>, context: Context) => void) | undefined;
  /**
   * The behaviour while the store is down: `"fill"` asks the handler; `"throw"` throws the fault.
   * @default {"fill"}
   */
  readonly whenUnavailable?: "fill" | "throw" | undefined;
  /** A callback for faults. */
  readonly onFault?: ((error: unknown) => void) | undefined;
  /**
   * The clock of dates and leases.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

/**
 * Where {@linkcode withCache} keeps responses: a store, or a cache that was made already.
 *
 * @category HTTP
 */
export type HttpCacheSource<Context = unknown> =
  | {
    /** The store, or a function that gets it from a request's context. */
    readonly store: ContextStore<Context>;
    readonly cache?: undefined;
  }
  | {
    readonly store?: undefined;
    /**
     * A cache that was made already: to invalidate its tags, or to keep responses in memory too, by its
     * `near`.
     */
    readonly cache: Cache;
  };

/**
 * Options of {@linkcode withCache}: either a `store` or a `cache`, never both.
 *
 * @category HTTP
 */
export type HttpCacheOptions<Context = unknown> = HttpCacheBaseOptions<Context> & HttpCacheSource<Context>;

const OPTIONS: OptionNames<HttpCacheOptions> = {
  store: true,
  cache: true,
  name: true,
  key: true,
  tags: true,
  ttl: true,
  heuristics: true,
  retention: true,
  maxBody: true,
  bodyTimeout: true,
  fillTimeout: true,
  whenSetCookie: true,
  clientDirectives: true,
  staleWhileRevalidate: true,
  waitUntil: true,
  whenUnavailable: true,
  onFault: true,
  clock: true,
};

const TASK = "cache responses";
/** The form of what is stored; another one is filled anew. */
const FORM = "1";
/**
 * A URL that is known to have no response to keep is not waited for, for so long: its requests run side by
 * side.
 */
const PASS_TTL = 10_000;
/** The same after a server error: shorter, as it may pass. */
const ERROR_PASS_TTL = 1000;
/** Longer keys are hashed: engines take 512 bytes and more, namespaces included. */
const MAX_KEY = 160;
/** Characters of a record beside the response. */
const RECORD_OVERHEAD = 4096;

/** The entry of a URL: a response, or that it has none to keep. */
type Kept = CachedResponse | { readonly pass: true };

/** The cause of a failure that is a response. */
const SERVER_ERROR = Symbol("server error");

/** The failure of the handler on its way through the cache; its response, where it answered a 5xx. */
class HandlerFailure extends Error {
  #response: Response | undefined;

  constructor(cause: unknown, response?: Response) {
    super("the handler failed", { cause });
    this.#response = response;
  }

  /** The handler's 5xx, for the first that takes it: a body is read once. */
  take(): Response | undefined {
    const response = this.#response;
    this.#response = undefined;
    return response;
  }
}

/** One request that may fill: of a fill's response and a cached answer, it takes whichever is there first. */
class Flight {
  readonly own: Promise<Response>;
  /** The handler's own answer, once it was asked. */
  asked: Promise<Response> | undefined;
  #resolve!: (response: Response) => void;
  taken = false;

  constructor() {
    this.own = new Promise((resolve) => this.#resolve = resolve);
  }

  /** Gives the request its response; `false` where it has one. */
  give(make: () => Response): boolean {
    if (this.taken) return false;
    const response = make(); // where this throws, the request is not answered yet
    this.taken = true;
    this.#resolve(response);
    return true;
  }
}

/**
 * Answers requests from a shared cache, and asks the handler for what is missing or stale: once, for all
 * isolates and all requests that ask for it meanwhile. What may be kept, and how long, is the response's to
 * say, under RFC 9111.
 *
 * A response for which the session was read or changed is never kept, whichever of {@linkcode withSession}
 * and this is the outer one.
 *
 * @throws {TypeError} for unknown options, and where neither a store nor a cache is given; for a request that
 *   is answered
 * for the same cache already, by one around this with other options
 * @throws {RangeError} for a duration or a count out of range
 * @category HTTP
 * @example
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { withCache } from "@holdfast/edge/http";
 *
 * const handler = withCache(
 *   () => new Response("a rope", { headers: { "cache-control": "max-age=60" } }),
 *   { store: memoryStore() },
 * );
 * const response = await handler(new Request("https://example.com/rope"));
 * if (await response.text() !== "a rope") throw new Error("unexpected");
 * ```
 */
export function withCache<Context = unknown>(
  handler: FetchHandler<Context>,
  options: HttpCacheOptions<Context>,
): (request: Request, context?: Context) => Promise<Response> {
  if (typeof handler !== "function") {
    throw new TypeError(
      `Cannot cache responses as the handler must be a function: current type is ${typeof handler}`,
    );
  }
  const cached = cachedHandler(handler, options);
  return async (request, context) => await cached(request, context as Context, request);
}

/**
 * The same, for frameworks: `owner` is the object that all helpers around one request see.
 *
 * @category HTTP
 */
export function cachedHandler<Context>(
  handler: FetchHandler<Context>,
  options: HttpCacheOptions<Context>,
): (request: Request, context: Context, owner: object) => Promise<Response> {
  const settings = settingsOf(options);
  const checked: FetchHandler<Context> = async (request, context) =>
    checkResponse(await handler(request, context));
  return async (request, context, owner) => {
    return await new Exchanges(checked, context, settings, owner).answer(request);
  };
}

/** The options, checked. */
interface Settings<Context> extends Pick<HttpCacheBaseOptions<Context>, "key" | "tags" | "waitUntil"> {
  readonly cacheFor: (context: Context) => NamedCache;
  /** The options as they were given. */
  readonly given: object;
  readonly policy: PolicyOptions;
  readonly maxBody: number;
  readonly bodyTimeout: number;
  readonly fillTimeout: number;
  readonly clientDirectives: boolean;
  readonly staleWhileRevalidate: boolean;
  readonly whenUnavailable: "fill" | "throw";
  readonly report: (error: unknown) => void;
  readonly clock: Clock;
}

function settingsOf<Context>(options: HttpCacheOptions<Context>): Settings<Context> {
  checkOptionNames(TASK, options ?? null, OPTIONS);
  for (const name of ["key", "tags", "waitUntil", "onFault"] as const) {
    checkFunction(TASK, name, options[name]);
  }
  const { key, tags, waitUntil, whenSetCookie = "pass", whenUnavailable = "fill", clock = systemClock } =
    options;
  const optional = (name: "ttl" | "heuristics") =>
    options[name] === undefined ? undefined : toMilliseconds(options[name], name);
  return {
    key,
    tags,
    waitUntil,
    clock,
    cacheFor: cacheSource(options),
    given: options,
    policy: {
      ttl: optional("ttl"),
      heuristics: optional("heuristics"),
      retention: toMilliseconds(options.retention ?? "1h", "retention"),
      whenSetCookie: checkOneOf(TASK, "whenSetCookie", whenSetCookie, ["pass", "strip", "store"] as const),
    },
    maxBody: checkInteger(TASK, "maxBody", options.maxBody ?? 1_048_576),
    bodyTimeout: toMilliseconds(options.bodyTimeout ?? "30s", "bodyTimeout"),
    fillTimeout: toMilliseconds(options.fillTimeout ?? "1m", "fillTimeout"),
    clientDirectives: checkOneOf(TASK, "clientDirectives", options.clientDirectives ?? true, [true, false]),
    staleWhileRevalidate: checkOneOf(TASK, "staleWhileRevalidate", options.staleWhileRevalidate ?? true, [
      true,
      false,
    ]),
    whenUnavailable: checkOneOf(TASK, "whenUnavailable", whenUnavailable, ["fill", "throw"] as const),
    report: safely(options.onFault),
  };
}

/** A cache, and the object by which it is known: two on one store with one name hold the same keys. */
interface NamedCache {
  readonly cache: Cache;
  readonly identity: object;
}

const identities = /* @__PURE__ */ new PerBinding<object>();

/** The cache of a request: given, or made once per binding of the store. */
function cacheSource<Context>(options: HttpCacheOptions<Context>): (context: Context) => NamedCache {
  const { store, cache, name = "http", whenUnavailable, onFault, clock } = options;
  if ((store === undefined) === (cache === undefined)) {
    throw new TypeError("Cannot cache responses as either 'store' or 'cache' must be given, and not both");
  }
  if (cache !== undefined) {
    if (typeof cache?.resolve !== "function") {
      throw new TypeError("Cannot cache responses as 'cache' must be a cache on an AtomicStore");
    }
    const named = { cache, identity: cache };
    return () => named;
  }
  const cacheOptions: CacheOptions = {
    name,
    whenUnavailable,
    clock,
    // The handler's own failures are the caller's, not faults of the cache.
    onFault: onFault && ((error) => error instanceof HandlerFailure || onFault(error)),
  };
  const named = (store: AtomicStore): NamedCache => ({
    cache: createCache(store, cacheOptions),
    identity: identities.get(store.namespace(name), () => ({})),
  });
  if (typeof store === "function") {
    const known = new PerBinding<NamedCache>();
    return (context) => {
      const made = storeOf(store, context);
      return known.get(made, () => named(made));
    };
  }
  checkStore("use 'store'", store);
  const made = named(store as AtomicStore);
  return () => made;
}

/** A found response that was chosen by what the request says, and the key it lives under. */
interface Found {
  readonly stored: CachedResponse;
  /** Milliseconds since it was filled. */
  readonly age: number;
}

/** The way of one request. */
class Exchanges<Context> {
  readonly #handler: FetchHandler<Context>;
  readonly #context: Context;
  readonly #settings: Settings<Context>;
  readonly #cache: Cache;
  readonly #identity: object;
  readonly #owner: object;

  constructor(
    handler: FetchHandler<Context>,
    context: Context,
    settings: Settings<Context>,
    owner: object,
  ) {
    this.#handler = handler;
    this.#context = context;
    this.#settings = settings;
    this.#owner = owner;
    const { cache, identity } = settings.cacheFor(context);
    this.#cache = cache;
    this.#identity = identity;
  }

  async answer(request: Request): Promise<Response> {
    const { method, headers } = request;
    if (method !== "GET" && method !== "HEAD") return await this.#unsafe(request);
    if (this.#isNested(request)) return await this.#handler(request, this.#context);
    const wishes = requestWishes(headers);
    if (wishes.noStore || headers.has("upgrade")) return await this.#forward(request, "fwd=bypass");
    try {
      // Parts and heads are made of whole responses that are there; none is fetched for their sake.
      const partial = method === "HEAD" || headers.has("range");
      if (partial || wishes.onlyIfCached || (wishes.maxStale > 0 && this.#settings.clientDirectives)) {
        const found = await this.#peek(request, wishes);
        if (found) return found;
        if (wishes.onlyIfCached) return gatewayTimeout();
        if (partial) return await this.#forward(request, method === "HEAD" ? "fwd=method" : "fwd=partial");
      }
      return await this.#get(request, wishes);
    } catch (error) {
      return await this.#withoutCache(request, error);
    }
  }

  /**
   * Whether the same cache is being filled with the answer to this very request: it would wait for itself.
   *
   * @throws {TypeError} where the cache around this has other options: these would do nothing
   */
  #isNested(request: Request): boolean {
    const outer = fillingOptions([this.#owner, request], this.#identity);
    if (outer === undefined) return false;
    if (sameOptions(outer, this.#settings.given)) return true;
    throw new TypeError(
      "Cannot cache a response twice in one cache with different options: give the inner one another 'name'",
    );
  }

  /**
   * A method that may change something: the handler's answer, and the end of what was cached of it (RFC 9111
   * §4.4).
   */
  async #unsafe(request: Request): Promise<Response> {
    const tags = this.#tags(request); // bad ones are refused before the handler works
    const response = await this.#handler(request, this.#context);
    const { method, url, headers } = request;
    const safe = method === "OPTIONS" || method === "TRACE";
    if (!safe && response.status >= 200 && response.status < 400) {
      const urls = new Set([url]);
      for (const name of ["location", "content-location"]) {
        const other = response.headers.get(name);
        if (other === null || !URL.canParse(other, url)) continue;
        const { origin, href } = new URL(other, url);
        if (origin === new URL(url).origin) urls.add(href); // RFC 9111 §4.4: of another origin it could be an attack
      }
      try {
        const keys = [...urls].flatMap((url) => {
          const target = url === request.url ? request : new Request(url, { headers });
          return [this.#key(target, false), this.#key(target, true)];
        });
        await this.#cache.invalidate(await Promise.all(keys));
      } catch (error) {
        this.#settings.report(error); // the work was done: its answer goes out
      }
    }
    return withStatus(response, this.#owner, "fwd=method", tags);
  }

  /** The answer where the cache's store failed, or the handler did. */
  async #withoutCache(request: Request, error: unknown): Promise<Response> {
    if (error instanceof HandlerFailure) {
      if (error.cause !== SERVER_ERROR) throw error.cause;
      const response = error.take();
      // Of the requests that share the failure one takes the response: the others ask for one of their own.
      if (response === undefined) return await this.#forward(request, "fwd=miss");
      return withStatus(
        response,
        this.#owner,
        `fwd=stale; fwd-status=${response.status}`,
        this.#tags(request),
      );
    }
    if (!isOutage(error)) throw error;
    if (this.#settings.whenUnavailable === "throw") throw error;
    return await this.#forward(request, "fwd=bypass; detail=store-unavailable");
  }

  async #forward(request: Request, status: string): Promise<Response> {
    return withStatus(await this.#handler(request, this.#context), this.#owner, status, this.#tags(request));
  }

  /**
   * The key of a request. Requests with Authorization have one of their own: what is kept for them is kept
   * for few.
   */
  async #key(request: Request, authorized = request.headers.has("authorization")): Promise<string> {
    const { key: keyOf = urlOf } = this.#settings;
    const given: unknown = await keyOf(request);
    if (typeof given !== "string" || given === "") {
      throw new TypeError(
        `Cannot ${TASK} as 'key' must return a non-empty string: current value is ${shown(given)}`,
      );
    }
    const key = given.length > MAX_KEY || /[^\x20-\x7e]/.test(given)
      ? `sha256:${await sha256(given)}`
      : given;
    return (authorized ? "+" : "=") + key;
  }

  #tags(request: Request): readonly string[] {
    const { tags } = this.#settings;
    if (tags === undefined) return [];
    const given = tags(request);
    checkTags(given);
    return given;
  }

  /**
   * The key of a variant of the URL: it goes by the name in the URL's first response, and is lost with that.
   */
  async #variantKey({ vary, variants }: CachedResponse, request: Request): Promise<string> {
    const said = vary.map((name) => [name, request.headers.get(name)]);
    return `${variants} ${await sha256(JSON.stringify(said))}`;
  }

  /** The answer that the cache has without the handler's help. */
  async #peek(request: Request, wishes: RequestWishes): Promise<Response | undefined> {
    let key = await this.#key(request);
    for (const last of [false, true]) {
      const peeked = await this.#cache.peek<Kept>(key, { version: FORM, signal: request.signal });
      if (peeked === undefined || "pass" in peeked.value) return undefined;
      const found: Found = { stored: peeked.value, age: peeked.age };
      if (!matches(found.stored, request.headers)) {
        if (last) return undefined;
        key = await this.#variantKey(found.stored, request);
        continue;
      }
      const late = staleness(found);
      // The cache's own `expire` ends a response before the time that it says itself.
      if (late <= 0 && peeked.remaining === 0) return undefined;
      const { stored } = found;
      const allowed = stored.revalidate || !this.#settings.clientDirectives ? 0 : wishes.maxStale;
      if (late > 0 && late > allowed) return undefined;
      if (!this.#suits(found, wishes)) return undefined;
      return this.#hit(request, found, late > 0 ? "hit; detail=stale" : "hit");
    }
  }

  /** Whether a fresh response is fresh enough for the client. */
  #suits(found: Found, { noCache, maxAge, minFresh }: RequestWishes): boolean {
    if (!this.#settings.clientDirectives) return true;
    const left = -staleness(found);
    return !noCache && ageOf(found) <= maxAge && (minFresh === 0 || left >= minFresh);
  }

  #hit(request: Request, found: Found, status: string): Response {
    const ttl = Math.floor(-staleness(found) / 1000);
    const response = answerTo(request, found.stored, ageOf(found), `Holdfast; ${status}; ttl=${ttl}`);
    addTags(response.headers, this.#tags(request));
    return response;
  }

  async #get(request: Request, wishes: RequestWishes): Promise<Response> {
    let key = await this.#key(request);
    let refresh = false;
    let variants = randomToken(12);
    for (let step = 0; step < 4; step++) {
      const flight = new Flight();
      const answer = await this.#resolve(key, request, flight, { wishes, refresh, variants });
      if (answer === undefined) return await flight.own;
      const kept = answer.value;
      if ("pass" in kept) break;
      if (!matches(kept, request.headers)) {
        key = await this.#variantKey(kept, request);
        variants = kept.variants;
        refresh = false;
        continue;
      }
      const found: Found = { stored: kept, age: answer.age };
      const cached = answer.state === "hit" || answer.state === "stale";
      if (cached && !answer.waited && !refresh && !this.#suits(found, wishes)) {
        refresh = true;
        continue;
      }
      return this.#serve(request, found, answer, wishes);
    }
    return await this.#forward(request, "fwd=bypass");
  }

  /** Serves what the cache answered; a failure of the handler where the response must not stand in for it. */
  #serve(request: Request, found: Found, answer: CacheAnswer<Kept>, wishes: RequestWishes): Response {
    if (answer.state === "grace") {
      const { stored } = found;
      const allowed = stored.revalidate
        ? 0
        : Math.max(stored.error, this.#settings.clientDirectives ? wishes.staleIfError : 0);
      const expired = answer.remaining === 0; // before the time that it says itself, where `expire` was called
      if (expired && (allowed === 0 || staleness(found) > allowed)) throw answer.error;
      if (answer.error instanceof HandlerFailure) answer.error.take()?.body?.cancel().catch(() => {});
      return this.#hit(request, found, "fwd=stale; detail=stale-if-error");
    }
    if (answer.waited || answer.state === "uncached") {
      return this.#hit(request, found, "fwd=uri-miss; collapsed");
    }
    // Filled and not given away: a 304 has renewed it.
    if (answer.state === "filled") return this.#hit(request, found, "fwd=stale; fwd-status=304");
    return this.#hit(request, found, answer.state === "stale" ? "hit; detail=stale-while-revalidate" : "hit");
  }

  /** The cache's answer; `undefined` where the handler's own response was given to the request. */
  async #resolve(
    key: string,
    request: Request,
    flight: Flight,
    fill: { readonly wishes: RequestWishes; readonly refresh: boolean; readonly variants: string },
  ): Promise<CacheAnswer<Kept> | undefined> {
    const stored = deferred<void>();
    const waitUntil = this.#waitUntil();
    const work = this.#cache.resolve<Kept>(
      key,
      (context) => this.#fill(request, flight, context, fill, stored.promise),
      {
        ttl: 1, // each fill says its own
        absent: undefined,
        version: FORM,
        refresh: fill.refresh,
        tags: this.#tags(request),
        waitUntil: this.#settings.staleWhileRevalidate ? waitUntil : undefined,
        signal: request.signal,
        fillTimeout: this.#settings.fillTimeout,
      },
    );
    work.then(() => stored.resolve(), () => stored.resolve());
    waitUntil?.(stored.promise); // the client may have its answer, or leave, before it is stored
    let answer: CacheAnswer<Kept> | undefined;
    try {
      answer = await Promise.race([flight.own.then(() => undefined), work]);
    } catch (error) {
      if (flight.asked === undefined || !isTimeout(error)) throw error;
      // The others do not wait any longer. This request has its handler at work, and waits on.
      const response = await flight.asked;
      flight.give(() => this.#own(request, response, "uri-miss"));
    }
    if (answer === undefined || flight.taken) return undefined;
    flight.taken = true;
    return answer;
  }

  #waitUntil(): ((work: Promise<unknown>) => void) | undefined {
    return waitUntilOf(this.#context, this.#settings.waitUntil);
  }

  /** Asks the handler, gives its request the response as it comes, and answers what is to be kept. */
  async #fill(
    request: Request,
    flight: Flight,
    { previous, keep, signal }: FillContext<Kept>,
    { wishes, variants }: { readonly wishes: RequestWishes; readonly variants: string },
    stored: Promise<void>,
  ): Promise<Kept> {
    const { clock } = this.#settings;
    const before = previous && !("pass" in previous) ? previous : undefined;
    const old = before && matches(before, request.headers) ? before : undefined;
    const why = old ? "stale" : before ? "vary-miss" : "uri-miss";
    const pass = (response: Response): Kept => {
      keep({ ttl: response.status >= 500 ? ERROR_PASS_TTL : PASS_TTL, stale: 0, grace: 0 });
      if (!flight.give(() => this.#own(request, response, why))) response.body?.cancel().catch(() => {});
      return { pass: true };
    };
    const sentAt = clock.now();
    let asked: Request;
    let response: Response;
    try {
      // The fill is not the client's: it goes on for those who wait, though the client leave.
      asked = new Request(request, { headers: validating(request.headers, old), signal });
      // A request that is handed in again is no part of its own fill; a framework's context is.
      const owners = this.#owner === request ? [asked] : [asked, this.#owner];
      noteFilling(owners, this.#identity, this.#settings.given);
      flight.asked = Promise.resolve(this.#handler(asked, this.#context)).then(withTextType);
      response = await flight.asked;
    } catch (error) {
      throw new HandlerFailure(error);
    }
    const personal = () => isPersonal(this.#owner, asked);
    const receivedAt = clock.now();
    if (response.status === 304 && old) {
      return this.#renew(request, old, response, { sentAt, receivedAt, personal: personal() }, keep, pass);
    }
    const error = old && !old.revalidate && Math.max(old.error, wishes.staleIfError);
    if (response.status >= 500 && error) throw new HandlerFailure(SERVER_ERROR, response);
    const kept = storability(
      { request: request.headers, status: response.status, headers: response.headers, sentAt, receivedAt },
      this.#settings.policy,
    );
    if (kept === undefined || response.bodyUsed || personal()) return pass(response);
    const bytes = await this.#body(request, response, flight, why, stored);
    if (bytes === undefined || personal()) return pass(response); // a stream may read its session late
    const { whenSetCookie } = this.#settings.policy;
    const headers = storedHeaders(response.headers, receivedAt, whenSetCookie === "store");
    const made = cachedResponse(
      request.headers,
      { status: response.status, headers },
      bytes,
      kept,
      before?.variants ?? variants,
    );
    return this.#fits(made) ? this.#kept(made, keep) : pass(response);
  }

  /** Keeps a response for its own time. */
  #kept(made: CachedResponse, keep: FillContext["keep"]): CachedResponse {
    const { fresh, stale, grace } = timesLeft(made);
    keep({ ttl: fresh, stale, grace });
    return made;
  }

  #fits(made: CachedResponse): boolean {
    return JSON.stringify(made).length + RECORD_OVERHEAD <= this.#cache.limits.maxValueLength;
  }

  /** The stored response with the fields of a 304 (RFC 9111 §4.3.4). */
  #renew(
    request: Request,
    old: CachedResponse,
    response: Response,
    { personal, ...times }: {
      readonly sentAt: number;
      readonly receivedAt: number;
      readonly personal: boolean;
    },
    keep: FillContext["keep"],
    pass: (response: Response) => Kept,
  ): Kept {
    const cookies = this.#settings.policy.whenSetCookie === "store";
    const headers = updatedHeaders(old, storedHeaders(response.headers, times.receivedAt, cookies));
    const kept = storability(
      { request: request.headers, status: old.status, headers: new Headers(headers), ...times },
      this.#settings.policy,
    );
    const renewed: CachedResponse = { ...old, headers, ...kept };
    // A cookie is its own client's: that one gets it, and nothing of the answer is kept.
    const set = this.#settings.policy.whenSetCookie === "store" ? [] : response.headers.getSetCookie();
    if (kept !== undefined && set.length === 0 && !personal) return this.#kept(renewed, keep);
    const answer = answerTo(request, renewed, 0, "Holdfast; fwd=stale; fwd-status=304");
    for (const cookie of set) answer.headers.append("set-cookie", cookie);
    return pass(answer);
  }

  /**
   * The whole body for the store: `undefined` where it is too large, fails, or takes too long. The client
   * gets it as it comes, and its end when it is stored: a client that has seen the last byte may come back at
   * once.
   */
  async #body(
    request: Request,
    response: Response,
    flight: Flight,
    why: string,
    stored: Promise<void>,
  ): Promise<Uint8Array | undefined> {
    const { maxBody, bodyTimeout, clock } = this.#settings;
    if (Number(response.headers.get("content-length") ?? 0) > maxBody) return undefined;
    if (response.body === null) {
      flight.give(() => this.#own(request, response, why));
      return new Uint8Array();
    }
    const over = deferred<undefined>();
    let size = 0;
    const counted = response.body.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform(chunk, controller) {
          size += chunk.length;
          if (size > maxBody) over.resolve(undefined); // the waiters need not wait for its end
          controller.enqueue(chunk);
        },
      }),
    );
    const tee = new ResponseTee(counted, maxBody);
    const ended = deferred<TeeOutcome>();
    const passed = tee.passOn(async (outcome) => {
      ended.resolve(outcome);
      await stored;
    });
    const given = flight.give(() => this.#own(request, new Response(passed, response), why));
    if (!given) passed.cancel().catch(() => {});
    const late = new AbortController();
    try {
      const timer = clock.sleep(bodyTimeout, late.signal).then(() => undefined, () => undefined);
      const outcome = await Promise.race([ended.promise, over.promise, timer]);
      return outcome?.state === "whole" ? outcome.bytes : undefined;
    } finally {
      late.abort("over");
      tee.stop(); // what is not to be kept is read for its client alone
    }
  }

  /** The handler's own response, for the request that asked it: a 304 where its client has it already. */
  #own(request: Request, response: Response, why: string): Response {
    const status = `fwd=${why}; fwd-status=${response.status}`;
    const marked = withStatus(response, this.#owner, status, this.#tags(request));
    if (!isNotModified(request.headers, marked.status, marked.headers)) return marked;
    marked.body?.cancel().catch(() => {}); // of the tee: it reads on for the store
    return notModified(marked.headers);
  }
}

/** The key of a request where the app names none. */
function urlOf({ url }: Request): string {
  return url.split("#", 1)[0]!;
}

function isTimeout(error: unknown): boolean {
  return error instanceof HoldfastError && error.code === "timeout";
}

/** The age of a response, that at its arrival included. */
function ageOf({ stored, age }: Found): number {
  return stored.age + age;
}

/** Milliseconds since it was fresh; negative while it is. */
function staleness(found: Found): number {
  return ageOf(found) - found.stored.lifetime;
}

/** The response with what the cache has to say of it. */
function withStatus(response: Response, owner: object, status: string, tags: readonly string[]): Response {
  // No copy can be made with such a status: it is passed on as it is.
  if (response.status > 599) return response;
  return withFields(response, owner, (fields) => {
    fields.append("cache-status", `Holdfast; ${status}`);
    addTags(fields, tags);
  });
}

function addTags(fields: HeaderFields, tags: readonly string[]): void {
  if (tags.length > 0) fields.append("cache-tag", tags.join(","));
}

/** RFC 9111 §5.2.1.7. */
function gatewayTimeout(): Response {
  return new Response(null, {
    status: 504,
    headers: { "cache-status": "Holdfast; fwd=request; detail=only-if-cached" },
  });
}
