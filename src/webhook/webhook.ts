/**
 * The contract of inbound webhooks: a delivery is verified over its raw bytes, and each of its events is done
 * once.
 *
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { stripe, webhook } from "@holdfast/edge/webhooks";
 *
 * const receive = webhook({
 *   verify: stripe({ secret: "whsec_of_the_endpoint" }),
 *   store: memoryStore(),
 *   name: "stripe",
 *   handle: async (event, { signal }) => {
 *     // once per event id, however often the sender delivers it
 *   },
 * });
 * const response = await receive(new Request("https://shop.example/hooks", { method: "POST", body: "{}" }));
 * if (response.status !== 403) throw new Error("it was not signed");
 * ```
 */
import type { Clock } from "../clock.ts";
import type { Duration } from "../duration.ts";
import type { ContextStore, WaitUntilOption } from "../http/exchange.ts";
import type { Schema, SchemaOutput } from "../schema.ts";

/**
 * The input of a verifier.
 *
 * @category Webhooks
 */
export interface WebhookMessage {
  /** The header fields. */
  readonly headers: Headers;
  /**
   * The raw bytes of the body: a signature is over these, never over JSON that was read and written again.
   */
  readonly body: Uint8Array<ArrayBuffer>;
  /** Milliseconds since the Unix epoch, by the webhook's clock. */
  readonly now: number;
}

/**
 * One event of a delivery.
 *
 * @category Webhooks
 */
export interface WebhookEvent {
  /** The sender's id of the event: the same one at every delivery of it. */
  readonly id: string;
  /** The payload of the event, before the schema. */
  readonly payload: unknown;
}

/**
 * The answer of a verifier.
 *
 * - `verified`: signed by a secret of ours, and recent. `once` binds a value that was signed (a nonce) to
 *   what came with it, for a sender that does not sign the body.
 * - `answered`: verified, and this is the whole answer (the challenge of a new endpoint).
 * - `refused`: not signed by a secret of ours, or too old: a 403.
 * - `malformed`: signed, but not what this sender sends: a 400.
 *
 * @category Webhooks
 */
export type WebhookVerdict =
  | {
    readonly state: "verified";
    readonly events: readonly WebhookEvent[];
    readonly once?: { readonly nonce: string; readonly binds: string } | undefined;
  }
  | { readonly state: "answered"; readonly response: Response }
  | { readonly state: "refused"; readonly reason: string }
  | { readonly state: "malformed"; readonly reason: string };

/**
 * Tells whether a delivery is authentic, and what its events are: one of the presets (`stripe()`, `github()`
 * …), or a function of your own. On Workers, where secrets exist only in a request's environment, a function
 * around a preset: `(message, { env }) => stripe({ secret: env.STRIPE_SECRET })(message)`.
 *
 * @category Webhooks
 */
export type WebhookVerifier<Context = unknown> = (
  message: WebhookMessage,
  context: Context,
) => WebhookVerdict | Promise<WebhookVerdict>;

/**
 * A verifier of a preset: it needs no context.
 *
 * @category Webhooks
 */
export type PresetVerifier = (message: WebhookMessage, context?: unknown) => Promise<WebhookVerdict>;

/**
 * The context that `handle` gets beside the event.
 *
 * @category Webhooks
 */
export interface WebhookDelivery<Context = unknown> {
  /** The sender's id of the event. */
  readonly id: string;
  /** 1, and one more each time a crashed delivery was replaced. */
  readonly attempt: number;
  /** Aborts when another delivery took the event over, or may have: at `maxHold` at the latest. */
  readonly signal: AbortSignal;
  /** The request; its body can still be read. */
  readonly request: Request;
  /** The raw bytes of the body. */
  readonly body: Uint8Array<ArrayBuffer>;
  /** The context that the runtime handed over beside the request; Hono's `c` in Hono. */
  readonly context: Context;
  /** Notes that the side effect happened: from here on the event is done, also when `handle` throws. */
  pin(): void;
}

/**
 * Options of `webhook`.
 *
 * @category Webhooks
 */
export interface WebhookOptions<S extends Schema = Schema, Context = unknown> {
  /** Tells whether a delivery is authentic, and what its events are. */
  readonly verify: WebhookVerifier<Context>;
  /** The store of the events that were done, or a function that makes it of the context. */
  readonly store: ContextStore<Context>;
  /**
   * The namespace of the event ids. Each endpoint needs its own: two endpoints that get the same event do
   * different work.
   */
  readonly name: string;
  /**
   * Does the work of an event. It runs to its end also when the sender leaves. An answer of its own is used
   * when the delivery has one event; one that is not 2xx counts as a failure. What is neither a Response nor
   * nothing is a `TypeError` after the work: the event is done all the same.
   */
  readonly handle: (
    event: SchemaOutput<S>,
    delivery: WebhookDelivery<Context>,
  ) => Response | void | Promise<Response | void>;
  /** The form of an event: any Standard Schema. It makes `event` typed. */
  readonly schema?: S | undefined;
  /**
   * The answer to a signed event that the schema refuses: `"refuse"` is a 422, after which the sender tries
   * again and then alarms; `"ignore"` is a 200, for a schema that names the events of interest alone.
   * @default {"refuse"}
   */
  readonly whenInvalid?: "refuse" | "ignore" | undefined;
  /**
   * The time for which a crashed delivery blocks its event; extended while `handle` runs.
   * @default {"30s"}
   */
  readonly lease?: Duration | undefined;
  /**
   * The longest time for which a delivery keeps its event, whatever `handle` does.
   * @default {"1h", or a longer lease}
   */
  readonly maxHold?: Duration | undefined;
  /**
   * The time for which an event is known to be done. It must be longer than the sender repeats a delivery,
   * and than the verifier's tolerance.
   * @default {"7d"}
   */
  readonly retention?: Duration | undefined;
  /**
   * The longest time that one call of the store takes, its retries included.
   * @default {"10s"}
   */
  readonly timeout?: Duration | undefined;
  /**
   * The largest body in bytes; a larger one gets a 413. GitHub sends up to 25 MB.
   * @default {1_048_576}
   */
  readonly maxBody?: number | undefined;
  /**
   * The number of events of one delivery that are worked on at once (SendGrid sends many).
   * @default {8}
   */
  readonly concurrency?: number | undefined;
  /** Keeps the runtime alive; by default the context's own `waitUntil`, where it has one. */
  readonly waitUntil?: WaitUntilOption<Context> | undefined;
  /**
   * Called with every fault of the store, and with what `handle` threw. Without it, what `handle` threw is
   * thrown on, for the runtime or the framework to log and to answer with a 500.
   */
  readonly onFault?: ((error: unknown) => void) | undefined;
  /**
   * The clock of the verifier's tolerance and of the leases.
   * @default {systemClock}
   */
  readonly clock?: Clock | undefined;
}
