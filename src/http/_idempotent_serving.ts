/** The serving of a request that has the claim of its key, and the answers of those that have not. */
import { systemClock } from "../clock.ts";
import { deferred } from "../deferred.ts";
import { HoldfastError } from "../errors.ts";
import type { Claim, Completion, Hold, Idempotency } from "../idempotency/idempotency.ts";
import type { Exchange, Served } from "./exchange.ts";
import { HeldAttempt } from "../idempotency/held_attempt.ts";
import type { ClaimedRequest } from "./http_idempotency.ts";
import { problemResponse, textAtHand, withTextType } from "../response.ts";
import { checkOneOf } from "../validate.ts";
import { ResponseTee, type TeeOutcome } from "./response_tee.ts";
import { isStoredResponse, replayed, type StoredResponse, storedResponse } from "./stored_response.ts";

/** Options of {@linkcode Serving}. */
export interface ServingOptions {
  /** The largest body that is kept, in bytes. */
  readonly maxResponse: number;
  /** Whether the engine's bound or ours made it, which the app may not know of. */
  readonly isDefaultMax: boolean;
  /** The longest time that an answer may stream and be kept, in milliseconds. */
  readonly longestStream: number;
  readonly storeIf: (status: number) => boolean | Promise<boolean>;
  readonly onFault: (error: unknown) => void;
}

/** The serving of one request that has the claim. */
export class Serving {
  readonly #exchange: Exchange<unknown>;
  readonly #keys: Idempotency;
  readonly #claim: Claim;
  readonly #hold: Hold;
  readonly #options: ServingOptions;
  readonly #began = systemClock.monotonic();
  #pinned = false;

  constructor(exchange: Exchange<unknown>, keys: Idempotency, claim: Claim, options: ServingOptions) {
    this.#exchange = exchange;
    this.#keys = keys;
    this.#claim = claim;
    this.#options = options;
    this.#hold = keys.hold(claim);
  }

  /** The values that the handler gets. */
  #claimed(key: string): ClaimedRequest {
    return new HeldAttempt(key, this.#claim.attempt, this.#hold, () => void (this.#pinned = true));
  }

  /** Runs the handler and settles the claim by its answer. */
  async run(key: string, serve: (claimed: ClaimedRequest) => Promise<Served>): Promise<Response> {
    try {
      const served = await serve(this.#claimed(key));
      const { response } = served;
      switch (await this.#fate(served)) {
        case "lapse":
          this.#hold.lapse();
          return response;
        case "free":
          await this.#giveUp(response.status);
          return response;
        case "keep": {
          const bytes = textBytes(response);
          if (bytes !== undefined && bytes.length <= this.#options.maxResponse) {
            return this.#overtake(response, await this.#keep(storedResponse(response, bytes)));
          }
          if (response.body !== null) return await this.#keepBody(await withTextType(response));
          return this.#overtake(response, await this.#keep(storedResponse(response, new Uint8Array())));
        }
      }
    } catch (thrown) {
      // The handler threw what no framework answers; or its response was read already.
      await this.#giveUp(500);
      throw thrown;
    }
  }

  /** Decides about the claim by the status of the answer. */
  async #fate({ response: { status }, error }: Served): Promise<"keep" | "free" | "lapse"> {
    if (status < 200) return "free"; // an upgrade or a network error comes once
    if (this.#pinned) return "keep";
    // lock() and throttle() answer it to a client that left before the handler ran: nothing was done.
    if (status === 499) return "free";
    // An error that is no HTTP error and ended as a 5xx is a crash: it may be different next time, whatever
    // storeIf says.
    const crashed = error !== undefined && status >= 500 && !isHttpError(error);
    if (!crashed && await this.#isWanted(status)) return "keep";
    return status === 504 || status === 408 ? "lapse" : "free";
  }

  /** A `storeIf` that throws, or answers neither yes nor no, cannot undo the work: its answer is kept. */
  async #isWanted(status: number): Promise<boolean> {
    try {
      const wanted: unknown = await this.#options.storeIf(status);
      return checkOneOf("keep the answer", "storeIf", wanted, [true, false]);
    } catch (error) {
      this.#options.onFault(error);
      return true;
    }
  }

  async #keepBody(response: Response): Promise<Response> {
    const tee = new ResponseTee(response.body!, this.#options.maxResponse);
    const outcome = await tee.atHand();
    if (outcome?.state === "whole") {
      const copy = new Response(outcome.bytes, response);
      return this.#overtake(copy, await this.#keep(storedResponse(copy, outcome.bytes)));
    }
    const settled = deferred<void>(); // the runtime need not stay for a slow client
    const timer = this.#stopInTime(tee);
    const passed = tee.passOn(async (outcome) => {
      timer.abort("settled");
      await this.#settleStream(response, outcome).finally(() => settled.resolve());
    });
    this.#exchange.waitUntil(settled.promise);
    return new Response(passed, response);
  }

  /**
   * Ends the reading for the store while the key is still held, or, where it is not, when that is known: a
   * duplicate must learn that the work was done.
   */
  #stopInTime(tee: ResponseTee): AbortController {
    const timer = new AbortController();
    const stop = () => tee.stop();
    const { signal } = this.#hold;
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
    const left = this.#began + this.#options.longestStream - systemClock.monotonic();
    systemClock.sleep(Math.max(0, left), timer.signal, true).then(stop, () => {});
    return timer;
  }

  /** The status has reached the client, or may have: whatever became of the body, the work was done. */
  async #settleStream(response: Response, outcome: TeeOutcome): Promise<void> {
    const { status } = response;
    const { isDefaultMax, maxResponse, onFault } = this.#options;
    if (outcome.state === "too-large" && isDefaultMax) {
      onFault(
        new HoldfastError(
          "value-too-large",
          `Cannot keep the answer as it has more than ${maxResponse} bytes: give 'maxResponse' to expect it`,
        ),
      );
    }
    await this.#keep(
      outcome.state === "whole" ? storedResponse(response, outcome.bytes) : { status, headers: [] },
    );
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
  #overtake(own: Response, completion: Completion | void): Response {
    if (completion?.state !== "superseded" || !completion.completed || completion.response === undefined) {
      return own;
    }
    const answer = replay(completion.response);
    // Fields that cors() around this middleware wrote belong to this exchange, not to the replaced answer.
    for (const [name, value] of own.headers) {
      if (name.startsWith("access-control-")) answer.headers.set(name, value);
    }
    return answer;
  }
}

const encoder = /* @__PURE__ */ new TextEncoder();

/** The bytes of a response whose text is at hand: it need not be read as a stream, and leaves as it is. */
function textBytes(response: Response): Uint8Array<ArrayBuffer> | undefined {
  const text = textAtHand(response);
  return text === undefined ? undefined : encoder.encode(text);
}

function isHttpError(error: unknown): boolean {
  return typeof (error as { getResponse?: unknown }).getResponse === "function";
}

/** The answer that is stored, once more. */
export function replay(response: unknown): Response {
  if (!isStoredResponse(response)) {
    throw new HoldfastError(
      "corrupt-record",
      "Cannot replay the response as it was not written by this helper",
    );
  }
  return response.body === undefined ? notRetained(response.status) : replayed(response);
}

/** The answer where the work was done and its answer was not kept. */
export function notRetained(status?: number): Response {
  const served = status === undefined
    ? "The request was served"
    : `The request was served with status ${status}`;
  return problemResponse(409, "The response was not retained", {
    detail: `${served}; its response was not kept`,
  });
}
