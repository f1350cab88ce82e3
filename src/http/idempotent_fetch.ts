/**
 * Requests that may be sent again: one Idempotency-Key for a request and its repetitions, so that the server
 * does the work once.
 */
import { type Clock, systemClock } from "../clock.ts";
import { type Duration, toMilliseconds } from "../duration.ts";
import { HoldfastError } from "../errors.ts";
import { readStream } from "../read_stream.ts";
import { parseRetryAfter } from "../retry_after.ts";
import { safely } from "../safely.ts";
import { checkFunction, checkInteger, checkOptionNames, type OptionNames } from "../validate.ts";

/**
 * Options of {@linkcode idempotentFetch}.
 *
 * @category HTTP
 */
export interface IdempotentFetchOptions {
  /**
   * The longest time for the whole call: all attempts, and the pauses between them. It ends when the header
   * of an answer is there; the body may take longer.
   * @default {"30s"}
   */
  readonly timeout?: Duration | undefined;
  /**
   * The longest time for one attempt.
   * @default {"10s"}
   */
  readonly attemptTimeout?: Duration | undefined;
  /**
   * The number of attempts, the first one included.
   * @default {4}
   */
  readonly attempts?: number | undefined;
  /**
   * Selects the answers after which the request is sent again. Faults of the network always are. It may be
   * async, within the time of the attempt; one that reads the body reads a `clone()`. An error of its own
   * counts as a fault of the attempt.
   * @default {408, 425, 429, 500, 502, 503, 504, and 409 with Retry-After: the first request is still served}
   */
  readonly retryIf?: ((response: Response) => boolean | Promise<boolean>) | undefined;
  /**
   * The largest body in bytes: it is kept to be sent again.
   * @default {1_048_576}
   */
  readonly maxRequest?: number | undefined;
  /** Called with every fault and answer after which the request is sent again. What it throws is dropped. */
  readonly onRetry?: ((cause: unknown) => void) | undefined;
  /**
   * The clock of the timeouts and pauses.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}

/**
 * Options of a call of {@linkcode idempotentFetch}, beside those of `fetch`.
 *
 * @category HTTP
 */
export interface IdempotentRequestInit extends RequestInit {
  /**
   * The key, 1 to 255 characters of printable ASCII: one that outlives the process (the order's id) also
   * covers a call that is made again after a crash.
   * @default {a random UUID, or the request's own Idempotency-Key}
   */
  readonly idempotencyKey?: string | undefined;
}

const OPTIONS = {
  timeout: true,
  attemptTimeout: true,
  attempts: true,
  retryIf: true,
  maxRequest: true,
  onRetry: true,
  clock: true,
} satisfies OptionNames<IdempotentFetchOptions>;

const TASK = "make fetch() idempotent";
const FIRST_DELAY = 250;
const MAX_DELAY = 10_000;

/**
 * Makes a `fetch` that sends a request again after a fault, under one Idempotency-Key, until it has an
 * answer. The key is sent with POST and PATCH; other methods are idempotent by themselves. `Retry-After` is
 * honoured. The last answer is returned whatever its status; one that asks for more time than is left is
 * returned at once.
 *
 * @throws {TypeError | RangeError} when an option is unknown or out of its range
 * @category HTTP
 * @example
 * ```ts
 * import { idempotentFetch } from "@holdfast/edge/http";
 *
 * const keys: (string | null)[] = [];
 * const unreliable = (input: string | URL | Request, init?: RequestInit) => {
 *   keys.push(new Request(input, init).headers.get("idempotency-key"));
 *   return Promise.resolve(new Response(null, { status: keys.length === 1 ? 503 : 201 })); // the first one fails
 * };
 * const pay = idempotentFetch(unreliable, { timeout: "20s" });
 * const response = await pay("https://bank.example/payments", { method: "POST", body: `{"amount":1}` });
 * if (response.status !== 201 || keys[0] !== keys[1]) throw new Error("unexpected");
 * ```
 */
export function idempotentFetch(
  fetch: (input: string | URL | Request, init?: RequestInit) => Promise<Response>,
  options: IdempotentFetchOptions = {},
): (input: string | URL | Request, init?: IdempotentRequestInit) => Promise<Response> {
  if (typeof fetch !== "function") throw new TypeError(`Cannot ${TASK} as 'fetch' must be a function`);
  checkOptionNames(TASK, options, OPTIONS);
  const { retryIf = isRetried, attempts = 4, maxRequest = 1_048_576, onRetry, clock = systemClock } = options;
  checkFunction(TASK, "retryIf", retryIf);
  checkFunction(TASK, "onRetry", onRetry);
  checkInteger(TASK, "attempts", attempts);
  checkInteger(TASK, "maxRequest", maxRequest, 0);
  const timeout = toMilliseconds(options.timeout ?? "30s", "timeout");
  const attemptTimeout = toMilliseconds(options.attemptTimeout ?? "10s", "attemptTimeout");
  return async (input, init = {}) => {
    const deadline = clock.monotonic() + timeout;
    const { url, repeated, signal } = await repeatable(input, init, maxRequest);
    for (let attempt = 1;; attempt++) {
      const left = deadline - clock.monotonic();
      const bound = Math.min(attemptTimeout, left);
      let response: Response | undefined;
      let fault: unknown;
      try {
        const answer = await once(async (signal) => {
          const response = await fetch(url, { ...repeated, signal });
          // Within the time of the attempt: a callback that never settles must not hold the call up.
          return { response, again: await retryIf(response) };
        }, { bound, signal, clock });
        if (!answer.again) return answer.response;
        response = answer.response;
      } catch (error) {
        signal?.throwIfAborted();
        fault = error;
      }
      const asked = parseRetryAfter(response?.headers.get("retry-after"), clock.now()) ?? 0;
      const delay = Math.max(backoff(attempt), asked);
      if (attempt >= attempts || clock.monotonic() + delay >= deadline) {
        if (response !== undefined) return response;
        throw fault;
      }
      safely(onRetry)(response ?? fault);
      response?.body?.cancel().catch(() => {});
      await clock.sleep(delay, signal);
    }
  };
}

/** The request in a form that can be sent several times: its body is read once. */
async function repeatable(
  input: string | URL | Request,
  { idempotencyKey, signal: given, ...init }: IdempotentRequestInit,
  maxRequest: number,
): Promise<{ url: string; repeated: RequestInit; signal: AbortSignal | undefined }> {
  // A stream says no length: Node and Deno want to be told that its answer comes after it.
  const streams = init.body instanceof ReadableStream ? { duplex: "half" } : {};
  const request = new Request(input, { ...init, ...streams });
  const signal = given ?? (input instanceof Request ? input.signal : undefined) ?? undefined;
  const body = await readStream(request.body, maxRequest, signal);
  if (body === undefined) {
    throw new RangeError(`Cannot send the request again as its body has more than ${maxRequest} bytes`);
  }
  const headers = new Headers(request.headers);
  const needsKey = request.method === "POST" || request.method === "PATCH";
  if (idempotencyKey !== undefined) headers.set("idempotency-key", quoted(idempotencyKey));
  else if (needsKey && !headers.has("idempotency-key")) {
    headers.set("idempotency-key", quoted(crypto.randomUUID()));
  }
  const { method, redirect } = request;
  return {
    url: request.url,
    repeated: { ...init, method, redirect, headers, ...(body.length > 0 ? { body } : { body: null }) },
    signal,
  };
}

/** A key as the header holds it: a String of a structured field. */
function quoted(key: string): string {
  if (typeof key !== "string" || !/^[\x20-\x7e]{1,255}$/.test(key)) {
    throw new TypeError("Cannot send the key as it must be 1 to 255 characters of printable ASCII");
  }
  return `"${key.replace(/["\\]/g, "\\$&")}"`;
}

/** One attempt; the timer ends when the header of the answer is there, and what to do about it is known. */
async function once<T>(
  attempt: (signal: AbortSignal) => Promise<T>,
  { bound, signal, clock }: { bound: number; signal: AbortSignal | undefined; clock: Clock },
): Promise<T> {
  const ending = new AbortController();
  const done = new AbortController();
  const late = () => {
    ending.abort(
      new HoldfastError("timeout", "Cannot get an answer as the time of the attempt is over", {
        retryable: true,
        ambiguous: true,
      }),
    );
  };
  clock.sleep(Math.max(1, bound), done.signal).then(late, () => {});
  const either = signal === undefined ? ending.signal : AbortSignal.any([signal, ending.signal]);
  const aborted = new Promise<never>((_, reject) => {
    either.addEventListener("abort", () => reject(either.reason), { once: true });
  });
  aborted.catch(() => {});
  try {
    signal?.throwIfAborted();
    return await Promise.race([attempt(either), aborted]);
  } finally {
    done.abort("done");
  }
}

/** Not now, or not known: sent again. A 409 is one only when it says when to come back. */
function isRetried({ status, headers }: Response): boolean {
  return [408, 425, 429, 500, 502, 503, 504].includes(status) ||
    (status === 409 && headers.has("retry-after"));
}

/** Between half and all of 0.5, 1, 2 … 10 seconds. */
function backoff(attempt: number): number {
  return Math.min(MAX_DELAY, FIRST_DELAY * 2 ** attempt) * (0.5 + Math.random() / 2);
}
