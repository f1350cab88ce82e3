import { checkInteger, checkNames, checkOneOf, type OptionNames } from "../validate.ts";
import type { Exchange } from "./exchange.ts";

/**
 * The place where the client's address is told: by a runtime, or by a platform in front of it.
 *
 * - `auto`: the runtime's own connection, on Workers `CF-Connecting-IP`; in SvelteKit and Astro what their
 *   event says (`getClientAddress()`, `clientAddress`).
 * - `cloudflare`: `CF-Connecting-IP`, for a server that only Cloudflare reaches.
 * - `deno`, `bun`, `node`: the connection (`info.remoteAddr`, `server.requestIP`, `incoming.socket`).
 * - `vercel`: `X-Real-IP`. `netlify`: `X-NF-Client-Connection-IP`. `fly`: `Fly-Client-IP`.
 * - `aws-lambda`: `requestContext` of the event.
 *
 * A platform's header is trustworthy only where every request comes through that platform: it overwrites what
 * a client sends.
 *
 * @category HTTP
 */
export type ClientPlatform =
  | "auto"
  | "cloudflare"
  | "deno"
  | "bun"
  | "node"
  | "vercel"
  | "netlify"
  | "fly"
  | "aws-lambda";

/**
 * Options of {@linkcode clientAddress}.
 *
 * @category HTTP
 */
export interface ClientAddressOptions {
  /**
   * The place where the address is told.
   * @default {"auto"}
   */
  readonly platform?: ClientPlatform | undefined;
  /**
   * The number of proxies of your own that every request comes through: the address is taken that many places
   * from the right of `X-Forwarded-For`. Not beside `platform`.
   * @default {0}
   */
  readonly trustedProxies?: number | undefined;
  /**
   * The bits of an IPv6 address that name one client, from 1 to 128: one host owns a whole /64, many
   * customers a /56 or /48.
   * @default {64}
   */
  readonly ipv6Prefix?: number | undefined;
}

const OPTIONS = {
  platform: true,
  trustedProxies: true,
  ipv6Prefix: true,
} satisfies OptionNames<ClientAddressOptions>;

// deno-lint-ignore no-explicit-any
type Any = any;

/**
 * Where a platform tells the address: in a header that it sets itself, or in what the runtime hands over
 * beside the request.
 */
type Source = string | ((env: Any, original: Request) => unknown);

const deno: Source = (env) => (env.remoteAddr ?? env.info?.remoteAddr)?.hostname;
const node: Source = (env) => socketOf(env)?.remoteAddress;
// Bun knows the connection by its own request, not by one that another middleware made of it.
const bun: Source = (env, original) => called(env.server ?? env, "requestIP", original)?.address;

/** The connection under Node. */
function socketOf(env: Any): Any {
  return (env.incoming ?? env.req)?.socket;
}

/**
 * The answer of a method, where the object has it: an application's own object may use the name otherwise.
 */
function called(object: Any, name: string, argument?: Request): Any {
  return typeof object[name] === "function" ? object[name](argument) : undefined;
}

const SOURCES: Readonly<Record<ClientPlatform, Source>> = {
  "auto": (env, original) =>
    deno(env, original) ?? node(env, original) ?? bun(env, original) ?? called(env, "getClientAddress") ??
      env.clientAddress,
  "cloudflare": "cf-connecting-ip",
  deno,
  bun,
  node,
  "vercel": "x-real-ip",
  "netlify": "x-nf-client-connection-ip",
  "fly": "fly-client-ip",
  "aws-lambda"(env) {
    const context = env.requestContext ?? env.event?.requestContext;
    return context?.http?.sourceIp ?? context?.identity?.sourceIp;
  },
};

/**
 * The address of the client of a request, as far as no client can forge it. `undefined` when it is not told.
 *
 * With proxies of your own in front, the address is that many entries from the right of `X-Forwarded-For`:
 * those to its left are what the client claims. A request with fewer entries did not come through all of
 * them, and is known by its connection. Without `trustedProxies` that header is never read.
 *
 * @param connection what the runtime hands to the handler beside the request: Deno's `info`, Bun's `server`,
 *   the
 * `{ incoming }` of `@hono/node-server`, or an object that holds one of them
 * @throws {TypeError | RangeError} when an option is unknown or out of its range
 * @category HTTP
 * @example
 * ```ts
 * import { clientAddress } from "@holdfast/edge/http";
 * const request = new Request("https://example.com/", { headers: { "x-forwarded-for": "6.6.6.6, 2001:db8::1" } });
 * const address = clientAddress(request, {}, { trustedProxies: 1 });
 * if (address !== "2001:db8:0:0::/64") throw new Error("unexpected");
 * ```
 */
export function clientAddress(
  request: Request,
  connection?: unknown,
  options: ClientAddressOptions = {},
): string | undefined {
  const task = "tell the client's address";
  checkNames(task, options, OPTIONS);
  checkAddressOptions(task, options);
  return addressOf({ request, original: request, connection }, options);
}

/** Checks the options of an address among those of a helper. */
export function checkAddressOptions(task: string, options: ClientAddressOptions): void {
  const { platform = "auto", trustedProxies = 0, ipv6Prefix = 64 } = options;
  checkOneOf(task, "platform", platform, Object.keys(SOURCES));
  checkInteger(task, "trustedProxies", trustedProxies, 0);
  checkInteger(task, "ipv6Prefix", ipv6Prefix, 1, 128);
  if (trustedProxies > 0 && platform !== "auto") {
    throw new TypeError(`Cannot ${task} as 'platform' and 'trustedProxies' exclude each other`);
  }
}

/** The address, of options that were checked. */
export function addressOf(
  exchange: Pick<Exchange<unknown>, "request" | "original" | "connection">,
  { platform = "auto", trustedProxies = 0, ipv6Prefix = 64 }: ClientAddressOptions,
): string | undefined {
  const told = (trustedProxies > 0 && forwarded(exchange.request, trustedProxies)) ||
    peer(exchange, platform);
  return typeof told === "string" && told !== "" ? aggregated(bare(told), ipv6Prefix) : undefined;
}

function forwarded(request: Request, proxies: number): string | undefined {
  return (request.headers.get("x-forwarded-for") ?? "").split(",").map((entry) => entry.trim()).at(-proxies);
}

/** The other end of the connection, or what the platform says of it. */
function peer(
  { request, original, connection }: Pick<Exchange<unknown>, "request" | "original" | "connection">,
  platform: ClientPlatform,
): unknown {
  // Only on Workers does the runtime itself set `CF-Connecting-IP`.
  const workers = platform === "auto" && globalThis.navigator?.userAgent === "Cloudflare-Workers";
  const source = SOURCES[workers ? "cloudflare" : platform];
  return typeof source === "string" ? request.headers.get(source) : source(Object(connection), original);
}

/**
 * Whether the client has left. Node and Bun know the address only while the connection is open. The signal
 * of the request alone does not tell: `@hono/node-server` aborts it only if it was read before.
 */
export function hasLeft(
  { original, connection }: Pick<Exchange<unknown>, "original" | "connection">,
): boolean {
  return socketOf(Object(connection))?.destroyed || original.signal.aborted;
}

/** Without brackets, port and zone. */
function bare(address: string): string {
  const [, bracketed] = /^\[([^\]]*)\]/.exec(address) ?? [];
  const alone = bracketed ?? (/^[\d.]+:\d+$/.test(address) ? address.split(":")[0]! : address);
  return alone.split("%")[0]!.trim().toLowerCase();
}

/** The network of an IPv6 address; an IPv4 address, also one that is mapped into IPv6, as it is. */
function aggregated(address: string, prefix: number): string {
  if (!address.includes(":")) return address;
  // Its last 32 bits may be written as an IPv4 address.
  const [head = "", tail] = address.replace(
    /(\d+)\.(\d+)\.(\d+)\.(\d+)$/,
    (_, ...bytes) => hex(bytes[0] * 256 + +bytes[1]) + ":" + hex(bytes[2] * 256 + +bytes[3]),
  ).split("::");
  const left = head.split(":");
  const right = tail === undefined ? [] : tail.split(":");
  const zeros = Array(Math.max(0, 8 - left.length - right.length)).fill("0");
  const groups = [...left, ...zeros, ...right].map((group) => parseInt(group, 16) || 0);
  if (groups.slice(0, 6).join() === "0,0,0,0,0,65535") {
    const [high = 0, low = 0] = groups.slice(6);
    return [high >> 8, high & 255, low >> 8, low & 255].join(".");
  }
  const kept = groups.slice(0, Math.ceil(prefix / 16));
  const rest = prefix % 16;
  if (rest > 0) kept[kept.length - 1]! &= 0xffff << (16 - rest);
  return kept.map(hex).join(":") + (kept.length < 8 ? "::" : "") + `/${prefix}`;
}

function hex(group: number): string {
  return group.toString(16);
}
