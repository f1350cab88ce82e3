import { type RouteContext, runtimeRequest } from "./_context.ts";

/**
 * The address of the client, as far as no client can forge it; IPv6 by /64. `undefined` when the runtime
 * does not tell it.
 *
 * With `proxies` of the app's own in front, the address is that many entries from the right of
 * X-Forwarded-For: those to its left are what the client claims. A request with fewer entries did not come
 * through all of them, and is known by its connection. Without proxies the header is never read.
 */
export function clientAddress(c: RouteContext, proxies: number): string | undefined {
  const address = proxies > 0 ? forwarded(c, proxies) || peer(c) : peer(c);
  return typeof address === "string" && address !== "" ? aggregated(bare(address)) : undefined;
}

function forwarded(c: RouteContext, proxies: number): string | undefined {
  return (c.req.header("x-forwarded-for") ?? "").split(",").map((entry) => entry.trim()).at(-proxies);
}

/** The other end of the connection. Only on Workers does the runtime itself set `CF-Connecting-IP`. */
function peer(c: RouteContext): unknown {
  if (typeof navigator === "object" && navigator.userAgent === "Cloudflare-Workers") {
    return c.req.header("cf-connecting-ip");
  }
  const env = c.env ?? {};
  const bun = env.server ?? env;
  return env.remoteAddr?.hostname ?? env.info?.remoteAddr?.hostname ?? // Deno
    env.incoming?.socket?.remoteAddress ?? // Node
    // Bun knows the connection by its own request, not by one that another middleware made of it.
    (typeof bun.requestIP === "function" ? bun.requestIP(runtimeRequest(c))?.address : undefined);
}

/** Without brackets, port and zone. */
function bare(address: string): string {
  const [, bracketed] = /^\[([^\]]*)\]/.exec(address) ?? [];
  const alone = bracketed ?? (/^[\d.]+:\d+$/.test(address) ? address.split(":")[0]! : address);
  return alone.split("%")[0]!.toLowerCase();
}

/** One host owns a whole /64 of IPv6: its addresses count as one. */
function aggregated(address: string): string {
  if (!address.includes(":")) return address;
  const mapped = /^(?:::ffff:|(?:0+:){5}ffff:)(\d+\.\d+\.\d+\.\d+)$/.exec(address);
  if (mapped) return mapped[1]!;
  const [head = "", tail] = address.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? [] : Array(Math.max(0, 8 - left.length - right.length)).fill("0");
  const groups = [...left, ...zeros, ...right].map((group) => group.replace(/^0+(?=.)/, ""));
  if (groups.slice(0, 6).join(":") === "0:0:0:0:0:ffff") {
    const [high = 0, low = 0] = groups.slice(6).map((group) => parseInt(group, 16));
    return [high >> 8, high & 255, low >> 8, low & 255].join(".");
  }
  return groups.slice(0, 4).join(":") + "::/64";
}
