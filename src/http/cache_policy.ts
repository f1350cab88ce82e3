/** The decisions of a shared cache under RFC 9111, as pure functions over header fields and times. */
import {
  ageOf,
  type Directives,
  directiveTime,
  listMembers,
  parseDate,
  parseDirectives,
} from "./cache_control.ts";

/** The caller's policy for responses that have none of their own. */
export interface PolicyOptions {
  /** Milliseconds of freshness of a response that says nothing. */
  readonly ttl: number | undefined;
  /** The most milliseconds of freshness that are guessed from Last-Modified. */
  readonly heuristics: number | undefined;
  /** Milliseconds for which a response with a validator is kept beyond its freshness. */
  readonly retention: number;
  /** The treatment of a response that sets a cookie. */
  readonly whenSetCookie: "pass" | "strip" | "store";
}

/** An answer of the handler, with its times by this isolate's clock. */
export interface Exchange {
  readonly request: Headers;
  readonly status: number;
  readonly headers: Headers;
  readonly sentAt: number;
  readonly receivedAt: number;
}

/** The times for which a response is kept, in milliseconds; a response that must not be kept has none. */
export interface Storability {
  /** Its age when it was received. */
  readonly age: number;
  /** The time for which it is fresh, from when it was made. */
  readonly lifetime: number;
  /** The time after that for which it may be answered while it is refreshed. */
  readonly stale: number;
  /** The time after that for which it may be answered where the handler fails. */
  readonly error: number;
  /** The time after that for which it is kept to be validated. */
  readonly retention: number;
  /** Whether a stale response must not be answered, whatever a client allows. */
  readonly revalidate: boolean;
}

/**
 * Statuses whose responses may be kept without explicit freshness (RFC 9110 §15.1). 206 is never kept here.
 */
const HEURISTIC = new Set([200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501]);

/** Statuses whose caching rules are known here: those of RFC 9110. It matters for `must-understand`. */
function isUnderstood(status: number): boolean {
  return HEURISTIC.has(status) || (status >= 200 && status <= 205) || (status >= 302 && status <= 307) ||
    (status >= 400 && status <= 426) || (status >= 500 && status <= 505);
}

/**
 * The fraction of the time since the last change for which a response is taken to be fresh (RFC 9111 §4.2.2).
 */
const HEURISTIC_FRACTION = 0.1;

/**
 * Tells whether and how long a response to GET is kept; `undefined` where it must not be, or it would be of
 * no use.
 */
export function storability(exchange: Exchange, options: PolicyOptions): Storability | undefined {
  const { headers, status } = exchange;
  const cc = parseDirectives(headers.get("cache-control"));
  if (!mayStore(exchange, cc, options)) return undefined;
  const lifetime = lifetimeOf(exchange, cc, options);
  if (lifetime === undefined) {
    // Nothing is known of its freshness. With a validator it is worth keeping, to be validated at each use.
    if (!cc.has("public") && !HEURISTIC.has(status)) return undefined;
  }
  const revalidate = ["must-revalidate", "proxy-revalidate", "no-cache", "s-maxage"].some((name) =>
    cc.has(name)
  );
  const hasValidator = headers.has("etag") || parseDate(headers.get("last-modified")) !== undefined;
  const kept: Storability = {
    age: initialAge(exchange),
    lifetime: cc.has("no-cache") ? 0 : lifetime ?? 0,
    stale: revalidate ? 0 : directiveTime(cc, "stale-while-revalidate") || 0,
    error: revalidate ? 0 : directiveTime(cc, "stale-if-error") || 0,
    retention: hasValidator ? options.retention : 0,
    revalidate,
  };
  const { fresh, stale, grace } = timesLeft(kept);
  return fresh > 0 || stale > 0 || grace > 0 ? kept : undefined;
}

/**
 * The milliseconds left of a response when it is received: as fresh, as stale, and as one to fall back to or
 * validate.
 */
export function timesLeft(kept: Storability): { fresh: number; stale: number; grace: number } {
  const left = kept.lifetime - kept.age;
  // A response that arrives stale has used up some of the time after its freshness.
  const rest = (time: number) => Math.max(0, time + Math.min(0, left));
  const retention = kept.retention;
  return { fresh: Math.max(0, left), stale: rest(kept.stale), grace: Math.max(rest(kept.error), retention) };
}

/** RFC 9111 §3, for a shared cache. */
function mayStore({ request, status, headers }: Exchange, cc: Directives, options: PolicyOptions): boolean {
  if (status < 200 || status > 599 || status === 206 || status === 304) return false;
  if (cc.has("must-understand")) {
    if (!isUnderstood(status)) return false; // and its no-store is meant for caches that do not know must-understand
  } else if (cc.has("no-store")) return false;
  // A `private` that lists fields counts as one that lists none, as RFC 9111 §5.2.2.7 expects.
  if (cc.has("private")) return false;
  if (options.whenSetCookie === "pass" && headers.has("set-cookie")) return false;
  if (varyNames(headers) === undefined) return false;
  // A response without an end is no document.
  if (/^(text\/event-stream|multipart\/x-mixed-replace)\b/i.test(headers.get("content-type") ?? "")) {
    return false;
  }
  return !request.has("authorization") ||
    ["public", "s-maxage", "must-revalidate"].some((name) => cc.has(name));
}

/** RFC 9111 §4.2.1; freshness that cannot be read is none. */
function lifetimeOf(
  { status, headers, receivedAt }: Exchange,
  cc: Directives,
  { ttl, heuristics }: PolicyOptions,
): number | undefined {
  const explicit = directiveTime(cc, "s-maxage") ?? directiveTime(cc, "max-age");
  if (explicit !== undefined) return explicit || 0;
  const made = parseDate(headers.get("date")) ?? receivedAt;
  if (headers.has("expires")) return Math.max(0, (parseDate(headers.get("expires")) ?? made) - made);
  if (!cc.has("public") && !HEURISTIC.has(status)) return undefined;
  const changed = parseDate(headers.get("last-modified"));
  if (heuristics !== undefined && changed !== undefined) {
    return Math.min(heuristics, Math.max(0, (made - changed) * HEURISTIC_FRACTION));
  }
  return ttl;
}

/** RFC 9111 §4.2.3: the age of a response when it was received. */
function initialAge({ headers, sentAt, receivedAt }: Exchange): number {
  const made = parseDate(headers.get("date"));
  // A date has whole seconds: within one there is no telling that any time passed.
  const apparent = made === undefined ? 0 : receivedAt - made < 1000 ? 0 : receivedAt - made;
  return Math.max(apparent, ageOf(headers.get("age")) + receivedAt - sentAt);
}

/**
 * The request fields by which a response was chosen, in lower case and order; `undefined`: by more than can
 * be told.
 */
export function varyNames(headers: Headers): readonly string[] | undefined {
  const names = listMembers(headers.get("vary") ?? "").map((name) => name.toLowerCase());
  return names.includes("*") ? undefined : [...new Set(names)].sort();
}

/** Fields in which the case of letters carries no meaning. */
const CASELESS = ["accept-encoding", "accept-language"];

/** The values of those fields in a request, without differences that mean nothing (RFC 9111 §4.1). */
export function varyValues(names: readonly string[], request: Headers): readonly string[] {
  return names.map((name) => {
    const value = request.get(name);
    if (value === null) return "";
    const text = "=" + value.split(",").map((part) => part.trim()).join(","); // "=": present, though it be empty
    return CASELESS.includes(name) ? text.toLowerCase() : text;
  });
}

/** The wishes of a request (RFC 9111 §5.2.1), in milliseconds. */
export interface RequestWishes {
  readonly noStore: boolean;
  readonly noCache: boolean;
  readonly onlyIfCached: boolean;
  readonly maxAge: number;
  readonly minFresh: number;
  /** `Infinity`: however stale. */
  readonly maxStale: number;
  readonly staleIfError: number;
}

/** Parses the wishes of a request; one that cannot be read is none. */
export function requestWishes(request: Headers): RequestWishes {
  const cc = parseDirectives(request.get("cache-control"));
  const time = (name: string, other: number) => {
    const value = directiveTime(cc, name);
    return value === undefined || Number.isNaN(value) ? other : value;
  };
  return {
    noStore: cc.has("no-store"),
    noCache: cc.has("no-cache"),
    onlyIfCached: cc.has("only-if-cached"),
    maxAge: time("max-age", Infinity),
    minFresh: time("min-fresh", 0),
    maxStale: cc.get("max-stale") === "" ? Infinity : time("max-stale", 0),
    staleIfError: time("stale-if-error", 0),
  };
}
