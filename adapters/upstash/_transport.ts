import { HoldfastError } from "../../src/errors.ts";

/** A Redis reply, as far as we ask for any. */
export type Reply = string | number | null | readonly Reply[];

/** Sends one command and answers its reply; strings exact. */
type SendCommand = (command: readonly string[]) => Promise<Reply>;

/** Where an Upstash database answers, and how. */
export interface UpstashConnection {
  /** The REST URL. */
  readonly url: string;
  /** The REST token. */
  readonly token: string;
  /**
   * Sends the requests.
   * @default {globalThis.fetch}
   */
  readonly fetch?: typeof fetch;
}

/** An error the server answered; its text is the server's own and never shown. */
export class RedisReplyError extends Error {
  /** Survives minifiers. */
  override readonly name = "RedisReplyError";
}

/** The REST protocol over fetch: one command a request, the sync token kept, nothing retried behind the caller's back. */
export function upstashScripts(connection: UpstashConnection, timeout: number): {
  evalsha(sha: string, keys: string[], args: string[]): Promise<Reply>;
  eval(script: string, keys: string[], args: string[]): Promise<Reply>;
} {
  const send = transport(connection, timeout);
  return {
    evalsha: (sha, keys, args) => send(["EVALSHA", sha, String(keys.length), ...keys, ...args]),
    eval: (script, keys, args) => send(["EVAL", script, String(keys.length), ...keys, ...args]),
  };
}

function transport(connection: UpstashConnection, timeout: number): SendCommand {
  const { url, token, fetch: send = fetch } = connection;
  if (!/^https?:\/\//.test(url ?? "") || !token) {
    throw new TypeError("Cannot connect to Upstash as it needs an http(s) 'url' and a 'token'");
  }
  let syncToken: string | undefined;
  return async (command) => {
    const deadline = AbortSignal.timeout(Math.ceil(timeout));
    let response: Response;
    let text: string;
    try {
      response = await send(url, {
        method: "POST",
        headers: {
          authorization: `Bearer ${token}`,
          "content-type": "application/json",
          "upstash-encoding": "base64",
          ...(syncToken && { "upstash-sync-token": syncToken }),
        },
        body: JSON.stringify(command),
        signal: deadline,
        redirect: "error",
      });
      text = await response.text();
    } catch (cause) {
      if (deadline.aborted) throw unavailable("timeout", `no reply within ${timeout} ms`, true, { cause });
      throw unavailable("backend-unavailable", "the request failed", true, { cause });
    }
    syncToken = response.headers.get("upstash-sync-token") ?? syncToken;
    let body: { result?: Reply; error?: string } | undefined;
    try {
      body = JSON.parse(text);
    } catch {
      throw unavailable(
        "backend-unavailable",
        `status ${response.status} and no JSON`,
        response.status !== 429,
      );
    }
    if (response.status === 429 || response.status >= 500) {
      const seconds = Number(response.headers.get("retry-after"));
      throw unavailable("backend-unavailable", `status ${response.status}`, response.status !== 429, {
        ...(seconds > 0 && { retryAfter: seconds * 1000 }),
      });
    }
    if (typeof body?.error === "string") throw new RedisReplyError(body.error);
    if (!response.ok || body?.result === undefined) {
      throw new HoldfastError(
        "backend-unavailable",
        `Cannot use Upstash as it answered status ${response.status}`,
      );
    }
    return decoded(body.result);
  };
}

function unavailable(
  code: "timeout" | "backend-unavailable",
  what: string,
  ambiguous: boolean,
  options: { cause?: unknown; retryAfter?: number } = {},
): HoldfastError {
  return new HoldfastError(code, `Cannot reach Upstash: ${what}`, { retryable: true, ambiguous, ...options });
}

/** Every string but "OK" travels in base64. */
function decoded(reply: Reply): Reply {
  if (typeof reply === "string") {
    return reply === "OK"
      ? reply
      : new TextDecoder().decode(Uint8Array.from(atob(reply), (c) => c.charCodeAt(0)));
  }
  return Array.isArray(reply) ? reply.map(decoded) : reply;
}
