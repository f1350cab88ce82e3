import { type Duration, toMilliseconds } from "../../src/duration.ts";
import { HoldfastError } from "../../src/errors.ts";
import {
  type Begin,
  type Claim,
  createIdempotency,
  type Idempotency,
} from "../../src/idempotency/idempotency.ts";
import { sha256 } from "../../src/secret.ts";
import {
  perStore,
  replace,
  type RouteContext,
  type RouteMiddleware,
  type StoreSource,
  waitUntil,
} from "./_context.ts";
import { readIdempotencyKey } from "./_idempotency_key.ts";
import { joined, readBody } from "./_request_body.ts";
import { around, isStoredResponse, replayed, type StoredResponse, storedResponse } from "./_response.ts";
import { Tap } from "./_tap.ts";
import { problem, unavailable } from "./problem.ts";

/** Options of {@linkcode idempotency}. */
export interface IdempotencyHelperOptions {
  /** Where keys live, or how to get it from a request. */
  readonly store: StoreSource;
  /**
   * Whose keys they are: two callers never see each other's answers. `"public"` says that all share them. A caller
   * without a name is an error: mount this after what tells who it is.
   */
  // deno-lint-ignore no-explicit-any
  readonly scope: "public" | ((c: any) => string | Promise<string>);
  /**
   * Whether a request without a key is turned away with a 400, or served as it is.
   * @default {true}
   */
  readonly required?: boolean;
  /**
   * The methods that take a key; others pass without any I/O.
   * @default {["POST", "PATCH"]}
   */
  readonly methods?: readonly string[];
  /**
   * Whether a key must be quoted, as the draft has it.
   * @default {false}
   */
  readonly strict?: boolean;
  /**
   * How long a crashed request blocks its key; extended while the handler runs.
   * @default {"30s"}
   */
  readonly lease?: Duration;
  /**
   * How long an answer is kept.
   * @default {"24h"}
   */
  readonly retention?: Duration;
  /** How long a duplicate waits for the first one's answer; without it, it gets a 409 at once. */
  readonly wait?: Duration;
  /**
   * The largest request body in bytes; a larger one gets a 413.
   * @default {1_048_576}
   */
  readonly maxRequest?: number;
  /**
   * The largest response body in bytes that is kept. A larger one reaches its client whole; a duplicate learns by a
   * 409 that the work was done and its answer was not kept.
   * @default {1_048_576}
   */
  readonly maxResponse?: number;
  /**
   * Which answers are kept; for the others the next request with the key runs again.
   * @default {2xx, 3xx, and 4xx but 408, 409, 425 and 429}
   */
  readonly storeIf?: (status: number) => boolean;
  /**
   * What makes two requests the same; for bodies that differ from one try to the next, as multipart ones do.
   * @default {a hash of the method, path, sorted query, kind of content and body}
   */
  // deno-lint-ignore no-explicit-any
  readonly fingerprint?: (c: any, body: Uint8Array<ArrayBuffer>) => string | Promise<string>;
  /**
   * What happens when the store is down: a 503, or the handler runs unprotected.
   * @default {"fail"}
   */
  readonly onStoreError?: "fail" | "open";
  /** Hears of a store that does not answer, and of an answer that could not be stored; must not throw. */
  readonly onFault?: (error: unknown) => void;
  /**
   * The namespace the keys live in.
   * @default {"idempotency"}
   */
  readonly name?: string;
}

/** `new Hono<{ Variables: IdempotencyVariables }>()` makes `c.var.idempotency` typed. */
export interface IdempotencyVariables {
  /** This request's claim. */
  idempotency: {
    /** The key the client sent. */
    readonly key: string;
    /** 1, and one more each time a crashed request was replaced. */
    readonly attempt: number;
    /** Aborts when another request took the key over. */
    readonly signal: AbortSignal;
    /** Says that the side effect happened: from here on every outcome is kept, also a 500. */
    pin(): void;
  };
}

const UNIT = 1_048_576;

/**
 * Serves a request once per Idempotency-Key; duplicates get the first answer back, with `Idempotency-Replayed: true`.
 *
 * 400: no key, or none that can be read. 409: the first one is still being served, or its answer was too large to keep.
 * 422: the key was used for another request. 413: the body is too large to compare. 503: the store is down.
 *
 * An answer that is at hand when the handler returns is stored before it leaves. One that streams is passed on as it comes
 * and stored at its end; when its client goes away, it is read on for the request that will come back.
 *
 * @see https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
 * @example
 * ```ts
 * import { Hono } from "hono";
 * import { memoryStore } from "@holdfast/edge";
 * import { idempotency } from "@holdfast/edge/hono";
 *
 * let charges = 0;
 * const app = new Hono();
 * app.post("/payments", idempotency({ store: memoryStore(), scope: "public" }), (c) => c.json({ charge: ++charges }));
 * const pay = () => app.request("/payments", { method: "POST", headers: { "Idempotency-Key": '"order-17"' } });
 * await pay();
 * const second = await pay();
 * if (charges !== 1 || second.headers.get("idempotency-replayed") !== "true") throw new Error("charged twice");
 * ```
 */
export function idempotency(options: IdempotencyHelperOptions): RouteMiddleware {
  const { store, scope, required = true, methods = ["POST", "PATCH"], strict = false, name } = options;
  const { maxRequest = UNIT, onStoreError = "fail", onFault = () => {}, wait } = options;
  const { maxResponse = UNIT, storeIf = isKept, fingerprint = hashed } = options;
  if (scope !== "public" && typeof scope !== "function") {
    throw new TypeError("Cannot make requests idempotent as 'scope' must be a function or \"public\"");
  }
  const lease = toMilliseconds(options.lease ?? "30s", "lease");
  const retention = toMilliseconds(options.retention ?? "24h", "retention");
  if (wait !== undefined) toMilliseconds(wait, "wait");
  const keysOf = perStore(
    store,
    (store) => createIdempotency(store, { lease, retention, ...(name !== undefined && { name }) }),
  );

  return async function idempotency(c: RouteContext, next: () => Promise<void>): Promise<Response | void> {
    if (!methods.includes(c.req.method)) return await next();
    const header = c.req.header("idempotency-key");
    if (header === undefined) {
      if (!required) return await next();
      return problem(400, "Idempotency-Key is missing", {
        detail: "This operation needs an Idempotency-Key header",
      });
    }
    const key = readIdempotencyKey(header, strict);
    if (key === undefined) {
      return problem(400, "Idempotency-Key is malformed", {
        detail: "The header must hold one string of 1 to 255 characters",
      });
    }
    const caller = scope === "public" ? "public" : scoped(await scope(c));
    const body = await readBody(c, maxRequest);
    if (body === undefined) {
      return problem(413, "The request is too large", {
        detail: `At most ${maxRequest} bytes can be compared`,
      });
    }
    const id = await sha256(`${caller.length}:${caller}:${key}`);
    const keys = keysOf(c);
    let begun: Begin;
    try {
      begun = await keys.begin(id, { fingerprint: await fingerprint(c, body), wait });
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      onFault(error);
      if (error.code === "corrupt-record") throw error; // no outage: it will not pass
      return onStoreError === "open" ? await next() : unavailable();
    }
    switch (begun.state) {
      case "new":
        return await serve(c, next, keys, begun.claim, key, { maxResponse, storeIf, onFault });
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
  };
}

/** What serving a claimed request needs to know. */
interface ServeOptions {
  readonly maxResponse: number;
  readonly storeIf: (status: number) => boolean;
  readonly onFault: (error: unknown) => void;
}

async function serve(
  c: RouteContext,
  next: () => Promise<void>,
  keys: Idempotency,
  claim: Claim,
  key: string,
  { maxResponse, storeIf, onFault }: ServeOptions,
): Promise<void> {
  const hold = keys.hold(claim);
  let pinned = false;
  let streams = false;
  c.set("idempotency", {
    key,
    attempt: claim.attempt,
    signal: hold.signal,
    pin: () => void (pinned = true),
  });
  // The work was done: whatever becomes of storing its answer, its client gets it.
  const keep = async (stored: StoredResponse) => {
    try {
      return await keys.complete(claim, stored);
    } catch (error) {
      onFault(error);
      if (!(error instanceof HoldfastError && error.code === "value-too-large")) return undefined;
      return await keys.complete(claim, { ...stored, body: undefined }).catch(onFault);
    }
  };
  /** For an answer that nobody can get again: the next request runs, unless the work must not happen twice. */
  const giveUp = (status: number) =>
    pinned ? keep({ status, headers: [] }) : keys.abandon(claim).catch(onFault);
  try {
    await next();
    const response = c.res;
    const { status, body } = response;
    const wanted = pinned || (c.error === undefined && storeIf(status));
    if (!wanted || status < 200) return void await giveUp(status); // an upgrade or a network error comes once
    if (body === null) return overtaken(c, await keep(storedResponse(response, new Uint8Array())));
    const tap = new Tap(body, maxResponse);
    const bytes = await tap.atHand();
    if (bytes !== undefined) {
      const copy = around(response, bytes, bytes);
      replace(c, copy);
      return overtaken(c, await keep(storedResponse(copy, bytes)));
    }
    streams = true;
    const settled = new Promise<void>((resolve) => {
      const passed = tap.passOn(claim.lease, async (bytes, whole) => {
        await (whole ? keep(storedResponse(response, bytes)) : giveUp(status));
        hold.stop();
        resolve();
      });
      replace(c, around(response, passed, tap.begun));
    });
    waitUntil(c, settled);
  } catch (thrown) {
    await giveUp(500); // no Error, which Hono would have made a response, or a response that was read already
    throw thrown;
  } finally {
    if (!streams) hold.stop();
  }
}

/** The winner's answer is the answer. */
function overtaken(
  c: RouteContext,
  completion: Awaited<ReturnType<Idempotency["complete"]>> | void,
): void {
  if (completion?.state === "superseded" && completion.completed && completion.response !== undefined) {
    replace(c, replay(completion.response));
  }
}

function replay(response: unknown): Response {
  if (!isStoredResponse(response)) {
    throw new HoldfastError("corrupt-record", "Cannot replay the response as it is none of ours");
  }
  return response.body === undefined ? notRetained(response.status) : replayed(response);
}

function notRetained(status?: number): Response {
  const served = status === undefined
    ? "The request was served"
    : `The request was served with status ${status}`;
  return problem(409, "The response was not retained", { detail: `${served}; its response was not kept` });
}

function scoped(caller: unknown): string {
  if (typeof caller === "string" && caller !== "") return `of:${caller}`;
  throw new TypeError("Cannot make the request idempotent as 'scope' must name its caller");
}

/** What makes a request the same: method, path, sorted query, kind of content, bytes. */
async function hashed(c: RouteContext, body: Uint8Array<ArrayBuffer>): Promise<string> {
  const url = new URL(c.req.url);
  url.searchParams.sort();
  const kind = (c.req.header("content-type") ?? "").split(";")[0]!.trim().toLowerCase();
  const head = new TextEncoder().encode([c.req.method, url.pathname, url.searchParams, kind, ""].join("\n"));
  return await sha256(joined([head, body]));
}

/** A server error and "not now" may be different next time; everything else is the answer. */
function isKept(status: number): boolean {
  return status < 500 && ![408, 409, 425, 429].includes(status);
}
