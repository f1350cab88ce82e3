/** The real better-auth over a storage, and browsers that speak to it. */
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import type { BetterAuthStorage } from "@holdfast/edge/better-auth";

const ORIGIN = "http://localhost:3000";

/** The calls of the tests on a better-auth of their own. */
export interface Auth {
  /** The reset token that was mailed last. */
  mailed(): string | undefined;
  browser(): Browser;
}

export function startAuth(storage: BetterAuthStorage, options: { readonly refreshes?: boolean } = {}): Auth {
  let mail: string | undefined;
  const auth = betterAuth({
    baseURL: ORIGIN,
    secret: "a-secret-for-the-tests-that-is-long-enough",
    database: memoryAdapter({ user: [], session: [], account: [], verification: [], rateLimit: [] }),
    secondaryStorage: storage,
    logger: { disabled: true },
    telemetry: { enabled: false },
    session: { expiresIn: 3600, updateAge: options.refreshes ? 0 : 600 },
    emailAndPassword: {
      enabled: true,
      // The hash is not what is tested, and the real one takes its time.
      password: {
        hash: (password) => Promise.resolve(`hash:${password}`),
        verify: ({ hash, password }) => Promise.resolve(hash === `hash:${password}`),
      },
      sendResetPassword: ({ token }) => {
        mail = token;
        return Promise.resolve();
      },
      revokeSessionsOnPasswordReset: true,
    },
    rateLimit: {
      enabled: true,
      window: 60,
      max: 10_000,
      storage: "secondary-storage",
      customRules: {
        // The header says how many may try in so many seconds.
        "/sign-in/email": (request) => {
          const [max = 10_000, window = 2] = request.headers.get("x-limited")?.split("/").map(Number) ?? [];
          return { window, max };
        },
      },
    },
    advanced: { ipAddress: { ipAddressHeaders: ["x-real-ip"] } },
  });
  return { mailed: () => mail, browser: () => new Browser(auth.handler) };
}

/** The answer of better-auth. */
export interface Answer {
  readonly status: number;
  // deno-lint-ignore no-explicit-any
  readonly body: any;
}

/** Keeps cookies. */
export class Browser {
  readonly #handler: (request: Request) => Promise<Response>;
  readonly #cookies = new Map<string, string>();

  constructor(handler: (request: Request) => Promise<Response>) {
    this.#handler = handler;
  }

  /** The same cookies, whatever happens to the first. */
  copy(): Browser {
    const copy = new Browser(this.#handler);
    for (const [name, value] of this.#cookies) copy.#cookies.set(name, value);
    return copy;
  }

  async call(path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const response = await this.#handler(
      new Request(`${ORIGIN}/api/auth${path}`, {
        method: body === undefined ? "GET" : "POST",
        headers: {
          origin: ORIGIN,
          "x-real-ip": "192.0.2.1",
          ...(cookie && { cookie }),
          ...(body !== undefined && { "content-type": "application/json" }),
          ...headers,
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      }),
    );
    for (const set of response.headers.getSetCookie()) {
      const [pair = ""] = set.split(";");
      const at = pair.indexOf("=");
      if (/max-age=0/i.test(set)) this.#cookies.delete(pair.slice(0, at));
      else this.#cookies.set(pair.slice(0, at), pair.slice(at + 1));
    }
    const text = await response.text();
    return { status: response.status, body: text === "" ? undefined : JSON.parse(text) };
  }

  /** The user who is logged in here. */
  async user(): Promise<string | undefined> {
    const { body } = await this.call("/get-session");
    return body?.user?.email;
  }
}
