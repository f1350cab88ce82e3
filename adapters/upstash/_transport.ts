import { withTimeout } from "../../src/deadline.ts";
import { deferred } from "../../src/deferred.ts";
import { readStream } from "../../src/read_stream.ts";
import { HoldfastError } from "../../src/errors.ts";
import { parseRetryAfter } from "../../src/retry_after.ts";
import { LONGEST_TIMER } from "../../src/timer.ts";
import { isUnknownHost, isUnknownScript, late, lost, refusesKeyLocking } from "./_faults.ts";
import { httpFault, RedisReplyError } from "./_http_faults.ts";
import type { Script, ScriptBook } from "./_scripts.ts";

/**
 * Where an Upstash database answers, and how.
 *
 * @category Stores
 */
export interface UpstashConnection {
  /** The REST URL. */
  readonly url: string;
  /** The REST token. */
  readonly token: string;
  /**
   * Sends the requests.
   * @default {globalThis.fetch}
   */
  readonly fetch?: typeof fetch | undefined;
}

/** Time limits in milliseconds. */
export interface Timeouts {
  /** Of a whole call, its repetitions by the script's text included. */
  readonly timeout: number;
  /** Of one request. */
  readonly attemptTimeout: number;
}

/** Runs a script by its hash, or by its text where the server does not know it. */
export interface ScriptRunner {
  /** Answers the script's reply; rejects with a fault, or with the server's own error. */
  run(script: Script, keys: string[], args: string[], signal: AbortSignal | undefined): Promise<unknown>;
  /** The fault that a caller gets for what `run` and the others rejected with. */
  fault(error: unknown, writes: boolean): unknown;
  /**
   * Reads a hash by HGETALL, which costs the server a fraction of what a script does. Absent where a client
   * may ask a replica for what only reads, or a cache of its own.
   */
  hash?(key: string, signal: AbortSignal | undefined): Promise<unknown>;
  /**
   * Reads the clock, then a hash, each by a command of its own, and answers both. The clock comes first: what
   * was there after it is judged by it, so a record that is renewed in between is never taken for one that is
   * over. Absent where two commands may change places.
   */
  timedHash?(key: string, signal: AbortSignal | undefined): Promise<[time: unknown, hash: unknown]>;
}

/**
 * How a script is named in a request. `hash`: the server may know it. `shared`: it did not, so the first call
 * of a request brings the text. `text`: even so it did not, so this call brings the text itself, which cannot
 * be unknown.
 */
type Form = "hash" | "shared" | "text";

/** A call that waits for its reply. */
interface Call {
  /** None for a plain command, which is all of `rest`. */
  script: Script | undefined;
  readonly rest: string;
  readonly reply: PromiseWithResolvers<unknown>;
  form: Form;
  /** The last request that it was part of; none when it was never sent. */
  request: RequestState | undefined;
  /** Whether its caller has an answer, or has given up. */
  settled: boolean;
}

/** A request under way. */
interface RequestState {
  /** How many of its calls have not been given up. */
  waiting: number;
  /** Ends the request. */
  readonly abort: AbortController;
}

/** What the server answers to one command. */
type Answer = { readonly result?: unknown; readonly error?: string } | undefined;

/** Upstash's own limits of one request; the size is that of its smallest plan, with some air. */
const MAX_COMMANDS = 1000;
const MAX_BYTES = 1_000_000;

/** The longest reply to one request that is read, in bytes after decompression. A Worker has 128 MB. */
const MAX_REPLY_BYTES = 64 * 1024 * 1024;

/**
 * The REST protocol over fetch. Calls of one tick share one request, in the order they were made.
 *
 * Nothing is sent twice unless the server answered that it did not execute it. A runtime may send a request
 * again by itself (Deno's fetch does, when a reused connection breaks before the reply); scripts are safe
 * against such copies.
 *
 * @see https://upstash.com/docs/redis/features/restapi
 */
export class UpstashTransport implements ScriptRunner {
  readonly fault = httpFault;
  readonly #url: string;
  readonly #token: string;
  readonly #fetch: typeof fetch;
  readonly #book: ScriptBook;
  readonly #timeouts: Timeouts;
  #waiting: Call[] = [];

  constructor(connection: UpstashConnection, book: ScriptBook, timeouts: Timeouts) {
    const { url, token, fetch: send } = connection;
    // Credentials in it are refused by some runtimes' fetch alone, at each call; a query or a hash would
    // swallow the path of a request of several commands.
    if (typeof url !== "string" || !/^https?:\/\/[^?#@]+$/.test(url) || !URL.canParse(url)) {
      throw new TypeError(
        "Cannot connect to Upstash as it needs an http(s) 'url' of a host and a path alone",
      );
    }
    if (typeof token !== "string" || !/^[\x21-\x7e]+$/.test(token)) {
      throw new TypeError(
        "Cannot connect to Upstash as it needs a 'token' of printable ASCII without spaces",
      );
    }
    this.#url = url.replace(/\/+$/, "");
    this.#token = token;
    this.#fetch = send ?? ((input, init) => fetch(input, init)); // Workers refuse a fetch called as a method
    this.#book = book;
    this.#timeouts = timeouts;
  }

  run(script: Script, keys: string[], args: string[], signal: AbortSignal | undefined): Promise<unknown> {
    return this.#send(script, JSON.stringify([String(keys.length), ...keys, ...args]).slice(1), signal);
  }

  hash(key: string, signal: AbortSignal | undefined): Promise<unknown> {
    return this.#send(undefined, JSON.stringify(["HGETALL", key]).slice(1), signal);
  }

  timedHash(key: string, signal: AbortSignal | undefined): Promise<[time: unknown, hash: unknown]> {
    // Calls of one tick share a request, in this order.
    return Promise.all([this.#send(undefined, '"TIME"]', signal), this.hash(key, signal)]);
  }

  /**
   * Other calls of the same request go on when one of them is given up; a call that was not sent by then
   * never is.
   */
  #send(script: Script | undefined, rest: string, signal: AbortSignal | undefined): Promise<unknown> {
    const call: Call = { script, rest, reply: deferred(), form: "hash", request: undefined, settled: false };
    const { timeout } = this.#timeouts;
    const result = withTimeout(
      call.reply.promise,
      timeout,
      signal,
      () => late(timeout, call.request !== undefined),
    );
    result.catch(() => {
      call.settled = true;
      // A request for which no caller waits any more is ended.
      if (call.request && --call.request.waiting === 0) call.request.abort.abort();
    });
    this.#enqueue(call);
    return result;
  }

  #enqueue(call: Call): void {
    if (this.#waiting.push(call) === 1) queueMicrotask(() => this.#flush());
  }

  async #flush(): Promise<void> {
    const calls = this.#waiting;
    this.#waiting = [];
    for (let at = 0; at < calls.length;) {
      const taken: Call[] = [];
      const bodies: string[] = [];
      const texts = new Set<Script>(); // whose text this request has already
      let bytes = 0;
      for (; at < calls.length && bodies.length < MAX_COMMANDS; at++) {
        const call = calls[at]!;
        if (call.settled) continue;
        const body = bodyOf(call, texts);
        bytes += body.length * (isAscii(body) ? 1 : 3) + 1;
        if (bodies.length > 0 && bytes > MAX_BYTES) break;
        if (call.script && call.form !== "hash") texts.add(call.script);
        taken.push(call);
        bodies.push(body);
      }
      if (taken.length > 0) await this.#exchange(taken, bodies); // one after the other: order is kept
    }
  }

  /** One request, which settles each of its calls or queues it again. Never rejects. */
  async #exchange(calls: readonly Call[], bodies: readonly string[]): Promise<void> {
    const request: RequestState = { waiting: calls.length, abort: new AbortController() };
    for (const call of calls) call.request = request;
    try {
      const { status, answers } = await this.#post(bodies, request.abort);
      const again: Promise<void>[] = [];
      calls.forEach((call, i) => {
        const answer = answers[i];
        if (typeof answer?.error !== "string") return this.#resolve(call, answer);
        again.push(this.#refused(call, new RedisReplyError(answer.error, status)));
      });
      await Promise.all(again);
    } catch (error) {
      for (const call of calls) call.reply.reject(error);
    }
  }

  #resolve(call: Call, answer: Answer): void {
    const result = answer?.result;
    if (result === undefined) call.reply.reject(lost("its answer has no result"));
    else call.reply.resolve(result);
  }

  /** Sends a call again whose script was not executed; any other refusal is the caller's. */
  async #refused(call: Call, error: RedisReplyError): Promise<void> {
    const { script, form } = call;
    if (script === undefined) return call.reply.reject(error);
    if (form !== "text" && isUnknownScript(error)) {
      // A server without the script may not take Upstash's first line either, as another call has found out
      // meanwhile.
      if (script.keyLocking && !this.#book.state.keyLocking) {
        call.script = await this.#book.withoutKeyLocking(script);
      }
      call.form = form === "hash" || call.script !== script ? "shared" : "text";
      return this.#enqueue(call);
    }
    if (script.keyLocking && refusesKeyLocking(error)) {
      call.script = await this.#book.withoutKeyLocking(script);
      call.form = "shared";
      return this.#enqueue(call);
    }
    call.reply.reject(error);
  }

  async #post(
    bodies: readonly string[],
    abort: AbortController,
  ): Promise<{ status: number; answers: readonly Answer[] }> {
    const single = bodies.length === 1;
    const { status, retryAfter, text } = await this.#fetchText(
      single ? "" : "/pipeline",
      single ? bodies[0]! : `[${bodies}]`,
      abort,
    );
    let body: unknown;
    try {
      body = JSON.parse(text);
    } catch {
      if (status === 200) throw lost("its answer is no JSON");
    }
    if (status === 200) {
      if (single) return { status, answers: [body as Answer] };
      if (!Array.isArray(body)) throw lost("its answer is no list");
      return { status, answers: body as Answer[] };
    }
    const error = (body as Answer)?.error;
    // A single command that the server refuses by its own word may be one to send again; all else is the
    // whole request's.
    if (single && status === 400 && typeof error === "string") return { status, answers: [{ error }] };
    throw new RedisReplyError(typeof error === "string" ? error : "", status, retryAfter);
  }

  async #fetchText(
    path: string,
    body: string,
    abort: AbortController,
  ): Promise<{ status: number; retryAfter?: number; text: string }> {
    const { attemptTimeout } = this.#timeouts;
    // By hand: AbortSignal.timeout keeps every request alive until its time is over.
    const timer = setTimeout(() => abort.abort(), Math.min(attemptTimeout, LONGEST_TIMER));
    const { syncToken } = this.#book.state;
    try {
      const response = await this.#fetch(this.#url + path, {
        method: "POST",
        headers: {
          authorization: `Bearer ${this.#token}`,
          "content-type": "application/json",
          ...(syncToken && { "upstash-sync-token": syncToken }),
        },
        body,
        signal: abort.signal,
        redirect: "manual", // a token follows no redirect; Workers know no "error"
      });
      const bytes = await readStream(response.body, MAX_REPLY_BYTES, abort.signal);
      if (bytes === undefined) {
        throw new HoldfastError(
          "value-too-large",
          `Cannot read the reply as one request may be answered with ${MAX_REPLY_BYTES} bytes at most`,
          { ambiguous: true },
        );
      }
      const { headers, status } = response;
      this.#book.state.syncToken = headers.get("upstash-sync-token") ?? syncToken;
      const retryAfter = parseRetryAfter(headers.get("retry-after"), Date.now());
      return {
        status,
        text: new TextDecoder().decode(bytes),
        ...(retryAfter !== undefined && { retryAfter }),
      };
    } catch (cause) {
      if (cause instanceof HoldfastError) throw cause;
      throw abort.signal.aborted ? late(attemptTimeout) : failure(cause);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** An error of fetch, whose text names the URL and nothing of what was sent. */
function failure(cause: unknown): unknown {
  return isUnknownHost(cause) ? cause : lost("the request failed", { cause });
}

function bodyOf({ script, rest, form }: Call, texts: ReadonlySet<Script>): string {
  if (script === undefined) return `[${rest}`;
  const byText = form === "text" || (form === "shared" && !texts.has(script));
  return `[${byText ? `"EVAL",${JSON.stringify(script.text)}` : `"EVALSHA","${script.sha}"`},${rest}`;
}

function isAscii(text: string): boolean {
  // deno-lint-ignore no-control-regex
  return /^[\x00-\x7f]*$/.test(text);
}
