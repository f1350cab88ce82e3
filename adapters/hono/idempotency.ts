import type { ClaimedRequest, HttpIdempotencyOptions } from "../../src/http/http_idempotency.ts";
import { idempotencyHelper } from "../../src/http/with_idempotency.ts";
import type { RouteContext, StoreSource } from "./_context.ts";
import { mapOptions, ofContext, pass } from "./_exchange.ts";
import type { HonoContext, HonoEnv, HonoMiddleware } from "./_hono_types.ts";
  around,
  isStoredResponse,
  maxStoredBody,
  replayed,
  type StoredResponse,
  storedResponse,
} from "../../src/http/stored_response.ts";
import { createIdempotency } from "../../src/idempotency/create_idempotency.ts";
import type { Claim, Completion, Hold, Idempotency } from "../../src/idempotency/idempotency.ts";
import { sha256OfAny } from "../../src/sha256.ts";
import type { AtomicStore } from "../../src/store/atomic_store.ts";
import {
  checkFunction,
  checkInteger,
  checkNeededOptions,
  checkOneOf,
  type OptionNames,
} from "../../src/validate.ts";
import {
  perStore,
  replace,
  type RouteContext,
  type RouteMiddleware,
  type StoreSource,
  waitUntil,
} from "./_context.ts";
import { readBody } from "./_request_body.ts";
import { problem, unavailable } from "./problem.ts";

/**
 * Options of {@linkcode idempotency}: those of `withIdempotency`, with callbacks of Hono's context.
 *
 * @category Hono
 */
// deno-lint-ignore no-explicit-any
export interface IdempotencyMiddlewareOptions<C = any>
  extends Omit<HttpIdempotencyOptions, "store" | "scope" | "fingerprint" | "waitUntil"> {
  /** The store of the keys, or how to get it from a request. */
  readonly store: StoreSource<C>;
  /** The caller that a key belongs to, or `"public"`; see `withIdempotency`. Mount this after what tells who calls. */
  readonly scope: "public" | ((c: C) => string | Promise<string>);
  /** Tells which requests are the same; see `withIdempotency`. */
  readonly fingerprint?: ((c: C, body: Uint8Array<ArrayBuffer>) => string | Promise<string>) | undefined;
}

/**
 * `new Hono<{ Variables: IdempotencyVariables }>()` makes `c.var.idempotency` typed; a chain infers it.
 *
 * @category Hono
 */
export interface IdempotencyVariables {
  /** This request's claim; there is none where a request passes without a key (`required: false`, a GET). */
  idempotency: ClaimedRequest;
}

/**
 * Serves a request once per Idempotency-Key; duplicates get the first answer; see `withIdempotency`.
 *
 * @throws {TypeError | RangeError} when an option is unknown or out of its range
 * @category Hono
 * @example
 * ```ts
 * import { Hono } from "hono";
 * import { memoryStore } from "@holdfast/edge";
 * import { idempotency } from "@holdfast/edge/hono";
 *
 * let charges = 0;
 * const app = new Hono();
 * app.post(
 *   "/payments",
 *   idempotency({ store: memoryStore(), scope: "public" }),
 *   (c) => c.json({ charge: ++charges }),
 * );
 * const headers = { "Idempotency-Key": '"order-17"' };
 * const pay = () => app.request("/payments", { method: "POST", headers });
 * await pay();
 * const second = await pay();
 * const replayed = second.headers.get("idempotency-replayed") === "true";
 * if (charges !== 1 || !replayed) throw new Error("charged twice");
 * ```
 */
// deno-lint-ignore no-explicit-any
export function idempotency<E extends HonoEnv = any>(
  options: IdempotencyMiddlewareOptions<HonoContext<E>>,
): HonoMiddleware<E, IdempotencyVariables> {
  const helper = idempotencyHelper<RouteContext>(
    mapOptions(options as IdempotencyMiddlewareOptions, ({ scope, fingerprint }) => ({
      scope: typeof scope === "function" ? ofContext(scope) : scope,
      fingerprint: ofContext(fingerprint),
    })) as HttpIdempotencyOptions<RouteContext>,
  );
  return (async function idempotency(c: RouteContext, next: () => Promise<void>) {
    return await pass(c, next, "idempotency", helper);
  }) as HonoMiddleware<E, IdempotencyVariables>;
  if (body === undefined) {
    return problem(413, "The request is too large", {
      detail: `At most ${maxRequest} bytes can be compared`,
    });
  }
  const id = await sha256OfAny(`${caller.length}:${caller}:${key}`);
  const print = fingerprint === undefined
    ? await requestFingerprint(c.req.raw, body)
    : await fingerprint(c, body);
  return { id, key, fingerprint: print };
}

/**
 * A name for the store, which "public" cannot meet. A lone surrogate is refused: hashed, it would be another
 * caller's name.
 */
function callerName(caller: unknown): string {
  if (typeof caller === "string" && caller !== "" && caller.isWellFormed()) return `of:${caller}`;
  throw new TypeError(`Cannot ${TASK} as 'scope' must name the caller by a non-empty, well-formed string`);
}

/** The answer to a request that is not served, as another one was or is. */
function refusal(begun: Exclude<Awaited<ReturnType<Idempotency["begin"]>>, { state: "new" }>): Response {
  switch (begun.state) {
    case "completed":
      return replay(begun.response);
    case "in-progress":
      return problem(409, "A request is outstanding for this Idempotency-Key", { retryAfter: 1000 });
    case "mismatch":
      return problem(422, "Idempotency-Key is already used", {
        detail: "The key belongs to another request",
      });
    case "not-retained":
      return notRetained();
  }
}

/** Options of {@linkcode Serving}. */
interface ServingOptions {
  readonly maxResponse: number;
  readonly storeIf: (status: number) => boolean;
  readonly onFault: (error: unknown) => void;
}

/** The serving of one request that has the claim. */
class Serving {
  readonly #c: RouteContext;
  readonly #keys: Idempotency;
  readonly #claim: Claim;
  readonly #hold: Hold;
  readonly #options: ServingOptions;
  #pinned = false;

  constructor(c: RouteContext, keys: Idempotency, claim: Claim, key: string, options: ServingOptions) {
    this.#c = c;
    this.#keys = keys;
    this.#claim = claim;
    this.#options = options;
    const hold = this.#hold = keys.hold(claim);
    c.set("idempotency", {
      key,
      attempt: claim.attempt,
      pin: () => void (this.#pinned = true),
      get signal() { // made for those who look: most handlers do not
        return hold.signal;
      },
    });
  }

  /** Runs the handler and settles the claim by its answer. */
  async run(next: () => Promise<void>): Promise<void> {
    const c = this.#c;
    try {
      await next();
      const { status, body } = c.res;
      switch (this.#fate(status)) {
        case "lapse":
          return this.#hold.lapse();
        case "free":
          return await this.#giveUp(status);
        case "keep":
          if (body !== null) return await this.#keepBody(c.res, body);
          this.#overtake(await this.#keep(storedResponse(c.res, new Uint8Array())));
      }
    } catch (thrown) {
      // The handler threw something that is no Error, which Hono does not answer; or its response was read
      // already.
      await this.#giveUp(500);
      throw thrown;
    }
  }

  /** Decides about the claim by the status of the answer. */
  #fate(status: number): "keep" | "free" | "lapse" {
    if (status < 200) return "free"; // an upgrade or a network error comes once
    if (this.#pinned) return "keep";
    const { error } = this.#c;
    // An error that is no HTTP error and ended as a 5xx is a crash: it may be different next time, whatever
    // storeIf says.
    const crashed = error !== undefined && status >= 500 && !isHttpError(error);
    if (!crashed && this.#isWanted(status)) return "keep";
    return status === 504 || status === 408 ? "lapse" : "free";
  }

  /** A `storeIf` that throws cannot undo the work: its answer is kept. */
  #isWanted(status: number): boolean {
    try {
      return this.#options.storeIf(status);
    } catch (error) {
      this.#options.onFault(error);
      return true;
    }
  }

  async #keepBody(response: Response, body: ReadableStream<Uint8Array>): Promise<void> {
    const tee = new ResponseTee(body, this.#options.maxResponse);
    const outcome = await tee.atHand();
    if (outcome?.state === "whole" && outcome.bytes !== undefined) {
      const copy = around(response, outcome.bytes, outcome.bytes);
      replace(this.#c, copy);
      return this.#overtake(await this.#keep(storedResponse(copy, outcome.bytes)));
    }
    const { signal } = this.#hold;
    const settled = new Promise<void>((resolve) => {
      const lost = () => {
        tee.stop();
        resolve(); // the runtime need not stay for a slow client
      };
      if (signal.aborted) lost();
      else signal.addEventListener("abort", lost, { once: true });
      const passed = tee.passOn(async (outcome) => {
        await this.#settleStream(response, outcome).finally(resolve);
      });
      replace(this.#c, around(response, passed, tee.begun));
    });
    waitUntil(this.#c, settled);
  }

  async #settleStream(response: Response, outcome: TeeOutcome): Promise<void> {
    if (outcome.state === "whole") return void await this.#keep(storedResponse(response, outcome.bytes));
    if (outcome.state === "failed" || this.#pinned) return await this.#giveUp(response.status);
    // It was stopped when the lease had ended: the claim is free by itself.
    this.#hold.stop();
  }

  /** Stores the answer. The work was done: whatever becomes of storing it, its client gets it. */
  async #keep(stored: StoredResponse): Promise<Completion | void> {
    const { onFault } = this.#options;
    this.#hold.settle();
    try {
      return await this.#keys.complete(this.#claim, stored);
    } catch (error) {
      onFault(error);
      if (!(error instanceof HoldfastError && error.code === "value-too-large")) return;
      const { status } = stored;
      return await this.#keys.complete(this.#claim, { status, headers: [] }).catch(onFault);
    } finally {
      this.#hold.stop();
    }
  }

  /**
   * Ends the claim of an answer that cannot be got again: the next request runs, unless the work must not
   * happen twice.
   */
  async #giveUp(status: number): Promise<void> {
    if (this.#pinned) return void await this.#keep({ status, headers: [] });
    this.#hold.settle();
    await this.#keys.abandon(this.#claim).catch(this.#options.onFault);
    this.#hold.stop();
  }

  /** Answers with another request's answer when that completed the key meanwhile. */
  #overtake(completion: Completion | void): void {
    if (completion?.state !== "superseded" || !completion.completed || completion.response === undefined) {
      return;
    }
    const answer = replay(completion.response);
    // Fields that cors() around this middleware wrote belong to this exchange, not to the replaced answer.
    for (const [name, value] of this.#c.res.headers) {
      if (name.startsWith("access-control-")) answer.headers.set(name, value);
    }
    replace(this.#c, answer);
  }
}

function isHttpError(error: unknown): boolean {
  return typeof (error as { getResponse?: unknown }).getResponse === "function";
}

function replay(response: unknown): Response {
  if (!isStoredResponse(response)) {
    throw new HoldfastError(
      "corrupt-record",
      "Cannot replay the response as it was not written by idempotency()",
    );
  }
  return response.body === undefined ? notRetained(response.status) : replayed(response);
}

function notRetained(status?: number): Response {
  const served = status === undefined
    ? "The request was served"
    : `The request was served with status ${status}`;
  return problem(409, "The response was not retained", { detail: `${served}; its response was not kept` });
}

/**
 * A server error, a missing right and "not now" may be different next time; everything else is the answer.
 */
function isKept(status: number): boolean {
  return status < 500 && ![401, 403, 408, 409, 425, 429].includes(status);
}
