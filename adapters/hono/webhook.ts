import type { Schema } from "../../src/schema.ts";
import { webhookReceiver } from "../../src/webhook/create_webhook.ts";
import type { WebhookOptions } from "../../src/webhook/webhook.ts";
import type { RouteContext, RouteHandler } from "./_context.ts";
import { honoExchange } from "./_exchange.ts";
import { readRouteBody } from "./_request_body.ts";
import type { HonoContext, HonoEnv } from "./_hono_types.ts";

/**
 * Options of {@linkcode webhook}: those of `webhook` in `./webhooks`, with Hono's `c` as the context.
 *
 * @category Hono
 */
// deno-lint-ignore no-explicit-any
export interface WebhookRouteOptions<S extends Schema = Schema, E extends HonoEnv = any>
  extends Omit<WebhookOptions<S, HonoContext<E>>, "waitUntil"> {}

/**
 * Makes a route of an endpoint that receives webhooks: it verifies the raw bytes, and does the work of each
 * event once. Mount it behind nothing that reads the body but Hono itself.
 *
 * @throws {TypeError | RangeError} when an option is missing, unknown or out of its range
 * @category Hono
 * @example
 * ```ts
 * import { Hono } from "hono";
 * import { memoryStore } from "@holdfast/edge";
 * import { webhook } from "@holdfast/edge/hono";
 * import { github } from "@holdfast/edge/webhooks";
 *
 * const app = new Hono().post(
 *   "/hooks/github",
 *   webhook({
 *     verify: github({ secret: "the secret of the webhook" }),
 *     store: memoryStore(),
 *     name: "github",
 *     handle: async (event, { id, context: c }) => {
 *       // once per delivery id
 *     },
 *   }),
 * );
 * const forged = await app.request("/hooks/github", { method: "POST", body: "{}" });
 * if (forged.status !== 403) throw new Error("it was not signed");
 * ```
 */
// deno-lint-ignore no-explicit-any
export function webhook<S extends Schema = Schema, E extends HonoEnv = any>(
  options: WebhookRouteOptions<S, E>,
): RouteHandler {
  const receive = webhookReceiver<S, RouteContext>(
    options as WebhookOptions<S, RouteContext>,
    readRouteBody,
  );
  return async function webhook(c: RouteContext): Promise<Response> {
    return await receive(honoExchange(c));
  };
}
