/**
 * A browser's cookies by the letter of RFC 6265bis, written from its text alone: what it keeps of a
 * Set-Cookie header, and what it sends. Times, sizes and SameSite are left out, as they do not decide which
 * name a server reads.
 *
 * @see https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis
 */

/** A cookie as a browser keeps it. */
export interface StoredCookie {
  readonly name: string;
  readonly value: string;
  readonly domain: string;
  readonly hostOnly: boolean;
  readonly path: string;
  readonly secure: boolean;
}

/** The origin of a response, or the target of a request. */
export interface Place {
  readonly host: string;
  readonly path: string;
  readonly secure: boolean;
}

/** The cookie store of a browser. */
export class BrowserCookies {
  readonly stored: StoredCookie[] = [];

  /** 5.6 and 5.7: parses a set-cookie-string and stores the cookie, unless a rule says to ignore it. */
  receive(text: string, from: Place): void {
    // deno-lint-ignore no-control-regex
    if (/[\x00-\x08\x0a-\x1f\x7f]/.test(text)) return;
    const [pair = "", ...attributes] = text.split(";");
    const at = pair.indexOf("=");
    const name = blank(at < 0 ? "" : pair.slice(0, at));
    const value = blank(at < 0 ? pair : pair.slice(at + 1));
    if (name === "" && value === "") return;
    if (name.length + value.length > 4096) return;
    let domain: string | undefined;
    let path = from.path.slice(0, from.path.lastIndexOf("/")) || "/"; // 5.1.4: the default path
    let secure = false;
    let pathGiven: string | undefined;
    for (const attribute of attributes) {
      const equals = attribute.indexOf("=");
      const key = blank(equals < 0 ? attribute : attribute.slice(0, equals)).toLowerCase();
      const argument = blank(equals < 0 ? "" : attribute.slice(equals + 1));
      if (key === "domain") domain = argument.replace(/^\./, "").toLowerCase();
      if (key === "path") pathGiven = argument.startsWith("/") ? argument : undefined;
      if (key === "secure") secure = true;
    }
    if (pathGiven !== undefined) path = pathGiven;
    if (domain !== undefined && domain !== "" && !domainMatches(from.host, domain)) return;
    const hostOnly = domain === undefined || domain === "";
    if (secure && !from.secure) return;
    const prefixed = name === "" ? value.toLowerCase() : name.toLowerCase();
    if (name === "" && /^__(secure|host)-/.test(prefixed)) return;
    if (prefixed.startsWith("__secure-") && !secure) return;
    if (prefixed.startsWith("__host-") && !(secure && hostOnly && pathGiven === "/")) return;
    const cookie = { name, value, domain: hostOnly ? from.host : domain!, hostOnly, path, secure };
    const same = this.stored.findIndex((known) =>
      known.name === name && known.domain === cookie.domain && known.hostOnly === hostOnly &&
      known.path === path
    );
    if (same < 0) this.stored.push(cookie);
    else this.stored[same] = cookie;
  }

  /** 5.8.3: the cookies of a request, longer paths first, then older ones. */
  sentTo(to: Place): readonly StoredCookie[] {
    return this.stored.filter((cookie) =>
      (cookie.hostOnly ? to.host === cookie.domain : domainMatches(to.host, cookie.domain)) &&
      (!cookie.secure || to.secure) && pathMatches(to.path, cookie.path)
    ).sort((a, b) => b.path.length - a.path.length);
  }

  /** 5.8.3: the cookie-string. */
  header(to: Place): string {
    return this.sentTo(to).map(({ name, value }) => name === "" ? value : `${name}=${value}`).join("; ");
  }
}

/** Without WSP (SP and HTAB) around it. */
function blank(text: string): string {
  return text.replace(/^[ \t]+/, "").replace(/[ \t]+$/, "");
}

function domainMatches(host: string, domain: string): boolean {
  return host === domain || host.endsWith(`.${domain}`);
}

function pathMatches(path: string, cookiePath: string): boolean {
  return path === cookiePath ||
    (path.startsWith(cookiePath) && (cookiePath.endsWith("/") || path[cookiePath.length] === "/"));
}
