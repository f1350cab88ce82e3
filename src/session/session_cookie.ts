/** Cookies of a session: how the token travels. */

/** How the session cookie looks. HttpOnly always; there is no option for a domain, so no sibling host can set it. */
export interface SessionCookieOptions {
  /**
   * Its name.
   * @default {"__Host-session", or "session" where `secure` is off or `path` is not "/"}
   */
  readonly name?: string;
  /**
   * Only over HTTPS. Switch it off for plain-HTTP development alone.
   * @default {true}
   */
  readonly secure?: boolean;
  /**
   * When other sites' requests carry it.
   * @default {"Lax"}
   */
  readonly sameSite?: "Strict" | "Lax" | "None";
  /**
   * Under which path it travels.
   * @default {"/"}
   */
  readonly path?: string;
}

/** Reads and writes one cookie. */
export interface SessionCookie {
  /** Its name. */
  readonly name: string;
  /** The first value that looks like a token of ours, whatever else the header carries, and how many do. */
  read(header: string | null | undefined): { readonly token: string | undefined; readonly count: number };
  /** The Set-Cookie value that hands a token out for that many seconds; 0 takes it back. */
  write(token: string, maxAge: number): string;
}

/** A cookie with everything decided; its value looks like `shape`. */
export function sessionCookie(
  options: SessionCookieOptions = {},
  shape: RegExp = /^[A-Za-z0-9_-]{43}$/,
): SessionCookie {
  const { secure = true, sameSite = "Lax", path = "/" } = options;
  const name = options.name ?? (secure && path === "/" ? "__Host-session" : "session");
  if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name)) {
    throw new TypeError("Cannot use the cookie as its name must be a token");
  }
  if (!/^\/[\x21-\x3a\x3c-\x7e]*$/.test(path)) {
    throw new TypeError("Cannot use the cookie as its path must begin with '/'");
  }
  if (!secure && (sameSite === "None" || /^__(Host|Secure)-/i.test(name))) {
    throw new TypeError(
      "Cannot use the cookie as SameSite=None and the __Host- and __Secure- prefixes need 'secure'",
    );
  }
  if (/^__Host-/i.test(name) && path !== "/") {
    throw new TypeError("Cannot use the cookie as the __Host- prefix needs path '/'");
  }
  const attributes = `; Path=${path}; HttpOnly${secure ? "; Secure" : ""}; SameSite=${sameSite}`;
  return {
    name,
    read(header) {
      let token: string | undefined;
      let count = 0;
      for (const pair of (header ?? "").split(";")) {
        const at = pair.indexOf("=");
        if (at < 0 || pair.slice(0, at).trim() !== name) continue;
        const value = pair.slice(at + 1).trim();
        if (!shape.test(value)) continue;
        token ??= value;
        count++;
      }
      return { token, count };
    },
    write: (token, maxAge) => `${name}=${token}; Max-Age=${maxAge}${attributes}`,
  };
}
