import { late, lost, RedisReplyError, refused, says } from "./_faults.ts";
import type { Script } from "./_scripts.ts";
import { deferred } from "../../src/deferred.ts";

/** A Redis reply, as far as we ask for any. */
export type Reply = string | number | null | readonly Reply[];

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

/** Runs a script by its hash, or by its text where the server does not know it. */
export interface ScriptRunner {
  /** Answers the script's reply; rejects with a fault, or with the server's own error. */
  run(script: Script, keys: string[], args: string[], signal: AbortSignal | undefined): Promise<unknown>;
  /** The same for a command, on clients that are known to take any. */
  command?(args: (string | number)[]): Promise<unknown>;
}

/** A call that waits for its reply. */
interface Call {
  /** None: `rest` is the whole command. */
  readonly script: Script | undefined;
  readonly rest: string;
  readonly reply: PromiseWithResolvers<Reply>;
  byText: boolean;
  tries: number;
  settled: boolean;
}

/** What the server says to a request, by the command. */
type Answer = { readonly result?: Reply; readonly error?: string } | undefined;

/** Upstash's own limits; the size is that of its smallest plan, with some air. */
const MOST_COMMANDS = 1000;
const MOST_BYTES = 1_000_000;
const MOST_TRIES = 3;

/**
 * The REST protocol over fetch. Calls of one tick share one request, in the order they were made. The sync token is kept.
 * We send nothing twice unless the server said that it did not run; a runtime may (Deno's fetch does, when a reused
 * connection breaks before the reply), which is why scripts that must run once are marked.
 *
 * @see https://upstash.com/docs/redis/features/restapi
 */
export class UpstashTransport implements ScriptRunner {
  readonly #url: string;
  readonly #token: string;
  readonly #fetch: typeof fetch;
  readonly #timeout: number;
  #syncToken: string | undefined;
  #waiting: Call[] = [];

  constructor(connection: UpstashConnection, timeout: number) {
    const { url, token, fetch: send } = connection;
    if (typeof url !== "string" || !/^https?:\/\/./.test(url) || typeof token !== "string" || token === "") {
      throw new TypeError("Cannot connect to Upstash as it needs an http(s) 'url' and a 'token'");
    }
    this.#url = url.replace(/\/+$/, "");
    this.#token = token;
    this.#fetch = send ?? ((input, init) => fetch(input, init)); // Workers refuse a fetch called as a method
    this.#timeout = timeout;
  }

  run(script: Script, keys: string[], args: string[], signal: AbortSignal | undefined): Promise<Reply> {
    return this.#send(script, JSON.stringify([String(keys.length), ...keys, ...args]).slice(1), signal);
  }

  command(args: (string | number)[]): Promise<Reply> {
    return this.#send(undefined, JSON.stringify(args), undefined);
  }

  #send(script: Script | undefined, rest: string, signal: AbortSignal | undefined): Promise<Reply> {
    const reply = deferred<Reply>();
    const call: Call = { script, rest, reply, byText: false, tries: 0, settled: false };
    if (signal) {
      // The others of its request go on; this one hears at once.
      const abort = () => settle(call, () => reply.reject(signal.reason));
      signal.addEventListener("abort", abort, { once: true });
      reply.promise.catch(() => {}).finally(() => signal.removeEventListener("abort", abort));
    }
    this.#enqueue(call);
    return reply.promise;
  }

  #enqueue(call: Call): void {
    if (this.#waiting.push(call) === 1) queueMicrotask(() => this.#flush());
  }

  async #flush(): Promise<void> {
    const calls = this.#waiting.filter(({ settled }) => !settled);
    this.#waiting = [];
    for (let at = 0; at < calls.length;) {
      const texts = new Set<Script>(); // a script's text travels once a request
      const bodies: string[] = [];
      let bytes = 0;
      const from = at;
      for (; at < calls.length && bodies.length < MOST_COMMANDS; at++) {
        const { script, rest, byText } = calls[at]!;
        const named = !byText || texts.has(script!);
        const body = script === undefined
          ? rest
          : `[${named ? `"EVALSHA","${script.sha}"` : `"EVAL",${JSON.stringify(script.text)}`},${rest}`;
        bytes += body.length * (isAscii(body) ? 1 : 3) + 1;
        if (bodies.length > 0 && bytes > MOST_BYTES) break;
        if (byText) texts.add(script!);
        bodies.push(body);
      }
      await this.#exchange(calls.slice(from, at), bodies); // one after the other: order is kept
    }
  }

  /** One request; settles each of its calls. */
  async #exchange(calls: readonly Call[], bodies: readonly string[]): Promise<void> {
    let answers: Answer[];
    try {
      const single = bodies.length === 1;
      const { status, body } = await this.#post(
        single ? "" : "/pipeline",
        single ? bodies[0]! : `[${bodies}]`,
      );
      answers = single
        ? [body as Answer]
        : status === 200 && Array.isArray(body)
        ? body
        : calls.map(() => body as Answer);
    } catch (error) {
      for (const call of calls) settle(call, () => call.reply.reject(error));
      return;
    }
    calls.forEach((call, i) => {
      const answer = answers[i];
      if (typeof answer?.error === "string") {
        const error = new RedisReplyError(answer.error);
        if (says(error, "NOSCRIPT") && call.tries++ < MOST_TRIES) {
          call.byText = true;
          return this.#enqueue(call);
        }
        return settle(call, () => call.reply.reject(error));
      }
      const { result } = answer ?? {};
      if (result === undefined) {
        return settle(call, () => call.reply.reject(lost("its answer has no result")));
      }
      settle(call, () => call.reply.resolve(decoded(result)));
    });
  }

  async #post(path: string, body: string): Promise<{ status: number; body: unknown }> {
    // By hand: AbortSignal.timeout holds on to every request until its time is over.
    const deadline = new AbortController();
    const timer = setTimeout(() => deadline.abort(), Math.min(this.#timeout, 2 ** 31 - 1)); // beyond, it fires at once
    let response: Response;
    let text: string;
    try {
      response = await this.#fetch(this.#url + path, {
        method: "POST",
        headers: {
          authorization: `Bearer ${this.#token}`,
          "content-type": "application/json",
          "upstash-encoding": "base64",
          ...(this.#syncToken && { "upstash-sync-token": this.#syncToken }),
        },
        body,
        signal: deadline.signal,
        redirect: "manual", // a token follows no redirect; Workers know no "error"
      });
      text = await response.text();
    } catch (cause) {
      throw deadline.signal.aborted ? late(this.#timeout) : lost("the request failed", { cause });
    } finally {
      clearTimeout(timer);
    }
    this.#syncToken = response.headers.get("upstash-sync-token") ?? this.#syncToken;
    const { status } = response;
    if (status === 429) throw refused("it is asked too often", retryAfter(response));
    if (status >= 500) throw lost(`it answered status ${status}`, { retryAfter: retryAfter(response) });
    try {
      const body = JSON.parse(text);
      if (status === 200 || status === 400 || status === 401) return { status, body };
    } catch {
      if (status === 200) throw lost("its answer is no JSON");
    }
    throw new RedisReplyError(`status ${status}`);
  }
}

function settle(call: Call, how: () => void): void {
  if (call.settled) return;
  call.settled = true;
  how();
}

/** Milliseconds from a Retry-After header, which holds seconds or a date. */
function retryAfter(response: Response): number | undefined {
  const header = response.headers.get("retry-after");
  if (header === null) return undefined;
  const milliseconds = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return milliseconds > 0 ? milliseconds : undefined;
}

function isAscii(text: string): boolean {
  // deno-lint-ignore no-control-regex
  return /^[\x00-\x7f]*$/.test(text);
}

/** Every string but "OK" travels in base64. */
function decoded(reply: Reply): Reply {
  if (typeof reply === "string") {
    if (reply === "OK") return reply;
    const bytes = atob(reply);
    // Mostly there is nothing to decode, and a byte at a time is slow.
    return isAscii(bytes) ? bytes : new TextDecoder().decode(Uint8Array.from(bytes, (c) => c.charCodeAt(0)));
  }
  return Array.isArray(reply) ? reply.map(decoded) : reply;
}
