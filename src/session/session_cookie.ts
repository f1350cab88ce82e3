/** Cookies of a session: how the token travels. */
import { cookieValues } from "../cookie.ts";
import { checkOneOf, checkOptionNames, type OptionNames } from "../validate.ts";

/**
 * The attributes of the session cookie. It is always HttpOnly. There is no option for a domain, so no sibling
 * host can set it.
 *
 * @category Sessions
 */
export interface SessionCookieOptions {
  /**
   * The cookie's name. A token is valid for its cookie alone: sessions with another cookie name never accept
   * it.
   * @default {"__Host-session", or "session" where `secure` is off or `path` is not "/"}
   */
  readonly name?: string | undefined;
  /**
   * Whether the browser sends the cookie over HTTPS alone. Turn it off for development over plain HTTP only:
   * the name then has no `__Host-` prefix, and a sibling host can plant a cookie of the same name.
   * @default {true}
   */
  readonly secure?: boolean | undefined;
  /**
   * The requests from other sites that carry it.
   * @default {"Lax"}
   */
  readonly sameSite?: "Strict" | "Lax" | "None" | undefined;
  /**
   * The path below which the browser sends it.
   * @default {"/"}
   */
  readonly path?: string | undefined;
}

const OPTIONS = { name: true, secure: true, sameSite: true, path: true } satisfies OptionNames<
  SessionCookieOptions
>;

/** The most cookies of one name that are looked up: each may cost a store call. */
const MAX_TOKENS = 4;

/** Reads and writes one cookie. */
export interface SessionCookie {
  /** Its name. */
  readonly name: string;
  /**
   * The different values that look like tokens of ours, at most four; all but one are planted or left over.
   */
  read(header: string | null | undefined): readonly string[];
  /** The Set-Cookie value that hands a token out for that many seconds; 0 takes it back. */
  write(token: string, maxAge: number): string;
}

/** Refuses what are no options of a cookie, such as its bare name. */
export function checkCookieOptions(options: unknown): void {
  checkOptionNames("use the cookie", options, OPTIONS);
}

/**
 * A cookie with everything decided; its value looks like `shape`.
 *
 * @throws {TypeError} when an option is unknown, has a value that is none of its own, or contradicts another
 */
export function sessionCookie(
  options: SessionCookieOptions = {},
  shape: RegExp = /^[A-Za-z0-9_-]{43}$/,
): SessionCookie {
  checkCookieOptions(options);
  const { secure = true, sameSite = "Lax", path = "/" } = options;
  // Whatever reaches a header is checked at run time: a value like "Lax; Domain=evil.test" would add an
  // attribute.
  checkOneOf("use the cookie", "secure", secure, [true, false]);
  checkOneOf("use the cookie", "sameSite", sameSite, ["Strict", "Lax", "None"]);
  const name = options.name ?? (secure && path === "/" ? "__Host-session" : "session");
  if (typeof name !== "string" || !/^[\w!#$%&'*+.^`|~-]{1,256}$/.test(name)) {
    throw new TypeError("Cannot use the cookie as its name must be a token of at most 256 characters");
  }
  if (typeof path !== "string" || !/^\/[\x21-\x3a\x3c-\x7e]{0,1023}$/.test(path)) {
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
    read: (header) => {
      const tokens = cookieValues(header, name).filter((value) => shape.test(value));
      return tokens.length < 2 ? tokens : [...new Set(tokens)].slice(0, MAX_TOKENS);
    },
    write: (token, maxAge) => `${name}=${token}; Max-Age=${maxAge}${attributes}`,
  };
}
