import { type Duration, toMilliseconds } from "../../src/duration.ts";
import { HoldfastError } from "../../src/errors.ts";
import {
  type Begin,
  type Claim,
  createIdempotency,
  type Idempotency,
} from "../../src/idempotency/idempotency.ts";
import { systemClock } from "../../src/clock.ts";
import { sha256 } from "../../src/secret.ts";
import { Turn } from "../../src/store/_turn.ts";
import type { AtomicStore } from "../../src/store/atomic_store.ts";
import {
  perStore,
  replace,
  type RouteContext,
  type RouteMiddleware,
  type StoreSource,
  waitUntil,
} from "./_context.ts";
import { readIdempotencyKey } from "./_idempotency_key.ts";
import { isStoredResponse, replayed, storedResponse } from "./_response.ts";
import { problem, unavailable } from "./problem.ts";

/** Options of {@linkcode idempotency}. */
export interface IdempotencyHelperOptions {
  /** Where keys live, or how to get it from a request. */
  readonly store: StoreSource;
  /**
   * Whose keys they are: two callers never see each other's answers. `"public"` says that all share them.
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
   * What happens when the store is down: a 503, or the handler runs unprotected.
   * @default {"fail"}
   */
  readonly onStoreError?: "fail" | "open";
  /** Hears of an answer that could not be stored although the work was done; must not throw. */
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
 * 400: no key, or none that can be read. 409: the first one is still being served. 422: the key was used for another
 * request. 413: the body is too large to compare. 503: the store is down.
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
  const { maxRequest = UNIT, maxResponse = UNIT, storeIf = isKept, onStoreError = "fail" } = options;
  if (scope !== "public" && typeof scope !== "function") {
    throw new TypeError("Cannot make requests idempotent as 'scope' must be a function or \"public\"");
  }
  const lease = toMilliseconds(options.lease ?? "30s", "lease");
  const retention = toMilliseconds(options.retention ?? "24h", "retention");
  const wait = options.wait === undefined ? 0 : toMilliseconds(options.wait, "wait");
  const onFault = options.onFault ?? (() => {});
  const stores = perStore(store, (store) => ({
    store: store.namespace(name ?? "idempotency"),
    keys: createIdempotency(store, { lease, retention, ...(name !== undefined && { name }) }),
  }));

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
    const caller = scope === "public" ? "public" : `of:${await scope(c)}`;
    const body = await readBody(c, maxRequest);
    if (body === undefined) {
      return problem(413, "The request is too large", {
        detail: `At most ${maxRequest} bytes can be compared`,
      });
    }
    const id = await sha256(`${caller.length}:${caller}:${key}`);
    const { keys, store } = stores(c);
    let begun: Begin;
    try {
      begun = await begin(keys, store, id, await fingerprint(c, body), wait);
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      onFault(error);
      if (onStoreError === "open" && error.code !== "corrupt-record") return await next();
      return unavailable();
    }
    switch (begun.state) {
      case "completed":
        return replay(begun.response);
      case "in-progress":
        return problem(409, "A request is outstanding for this Idempotency-Key", { retryAfter: 1000 });
      case "mismatch":
        return problem(422, "Idempotency-Key is already used", {
          detail: "The key belongs to another request",
        });
    }
    await serve(c, next, keys, begun.claim, key, { maxResponse, storeIf, onFault });
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
  const lost = new AbortController();
  let pinned = false;
  c.set("idempotency", { key, attempt: claim.attempt, signal: lost.signal, pin: () => void (pinned = true) });
  const beat = setInterval(async () => {
    const held = await keys.extend(claim).catch(() => true); // tried again at the next beat
    if (!held) {
      lost.abort(new HoldfastError("claim-lost", "Cannot go on as another request took the key over"));
    }
  }, claim.lease / 3);
  const abandon = () => keys.abandon(claim).then(() => {}, onFault);
  try {
    await next();
  } catch (thrown) {
    clearInterval(beat);
    if (!pinned) await abandon();
    throw thrown;
  }
  if (!pinned && (c.error !== undefined || !storeIf(c.res.status))) {
    clearInterval(beat);
    return await abandon();
  }
  const response = c.res;
  const settle = async (bytes: Uint8Array | undefined) => {
    clearInterval(beat);
    try {
      return await keys.complete(claim, storedResponse(response, bytes));
    } catch (error) {
      onFault(error); // the work was done: its client hears so
    }
  };
  if (response.body === null) {
    await overtaken(c, await settle(new Uint8Array()));
    return;
  }
  // What is at hand is stored before the answer leaves; what streams is passed on as it comes and stored at its end.
  if (isBuffered(response, maxResponse)) {
    const bytes = new Uint8Array(await response.arrayBuffer());
    replace(c, new Response(bytes, response));
    await overtaken(c, await settle(bytes.length > maxResponse ? undefined : bytes));
    return;
  }
  const stored = Promise.withResolvers<void>();
  const passed = passOn(response.body, maxResponse, async (bytes, whole) => {
    if (whole || pinned) await settle(bytes);
    else {
      clearInterval(beat);
      await abandon();
    }
    stored.resolve();
  });
  replace(c, new Response(passed, response));
  waitUntil(c, stored.promise);
}

/** The winner's answer is the answer. */
function overtaken(
  c: RouteContext,
  completion: Awaited<ReturnType<Idempotency["complete"]>> | undefined,
): void {
  if (completion?.state === "superseded" && completion.completed) replace(c, replay(completion.response));
}

function replay(response: unknown): Response {
  if (!isStoredResponse(response)) return unavailable();
  if (response.body !== undefined) return replayed(response);
  return problem(409, "The response was not retained", {
    detail: `The request was served with status ${response.status}; its response was too large to keep`,
  });
}

/** Hono's own answers say how long they are or are text; anything else may be a stream that never ends. */
function isBuffered(response: Response, maxResponse: number): boolean {
  const length = response.headers.get("content-length");
  if (length !== null) return Number(length) <= maxResponse;
  const type = response.headers.get("content-type") ?? "";
  return /^(application\/(problem\+)?json|text\/(plain|html))\b/.test(type) &&
    !response.headers.has("transfer-encoding");
}

/** Passes chunks on at once, keeps up to `most` bytes of them, and says at the end what it has. */
function passOn(
  body: ReadableStream<Uint8Array>,
  most: number,
  done: (bytes: Uint8Array | undefined, whole: boolean) => Promise<void>,
): ReadableStream<Uint8Array> {
  const reader = body.getReader();
  let chunks: Uint8Array[] | undefined = [];
  let size = 0;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { value, done: ended } = await reader.read();
        if (ended) {
          await done(chunks && joined(chunks, size), true);
          return controller.close();
        }
        size += value.length;
        if (size > most) chunks = undefined;
        chunks?.push(value.slice());
        controller.enqueue(value);
      } catch (error) {
        await done(undefined, false);
        controller.error(error);
      }
    },
    async cancel(reason) {
      await reader.cancel(reason);
      await done(undefined, false);
    },
  });
}

function joined(chunks: readonly Uint8Array[], size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

async function begin(
  keys: Idempotency,
  store: AtomicStore,
  id: string,
  fingerprint: string,
  wait: number,
): Promise<Begin> {
  const giveUpAt = performance.now() + wait;
  for (let round = 1;; round++) {
    const turn = round === 1 ? undefined : new Turn(store, systemClock, id, undefined);
    try {
      const begun = await keys.begin(id, { fingerprint });
      const left = giveUpAt - performance.now();
      if (begun.state !== "in-progress" || left <= 0) return begun;
      await turn?.wait(Math.min(left, begun.retryAfter + 1), round);
    } finally {
      turn?.end();
    }
  }
}

async function readBody(c: RouteContext, most: number): Promise<Uint8Array | undefined> {
  if (Number(c.req.header("content-length") ?? 0) > most) return undefined;
  if (c.req.raw.body?.locked) {
    throw new TypeError(
      "Cannot compare the request as its body is already being read: mount idempotency() before that",
    );
  }
  const bytes = new Uint8Array(await c.req.arrayBuffer()); // through Hono, which keeps it for the handler
  return bytes.length > most ? undefined : bytes;
}

/** What makes a request the same: method, path, sorted query, kind of content, bytes. */
async function fingerprint(c: RouteContext, body: Uint8Array): Promise<string> {
  const url = new URL(c.req.url);
  url.searchParams.sort();
  const kind = (c.req.header("content-type") ?? "").split(";")[0]!.trim().toLowerCase();
  const head = new TextEncoder().encode([c.req.method, url.pathname, url.searchParams, kind, ""].join("\n"));
  return await sha256(new Uint8Array(joined([head, body], head.length + body.length)));
}

/** A server error and "not now" may be different next time; everything else is the answer. */
function isKept(status: number): boolean {
  return status < 500 && ![408, 409, 425, 429].includes(status);
}
