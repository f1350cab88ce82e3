/**
 * Inbound webhooks that are verified and done once, for any runtime: a Request in, a Response out.
 *
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { github, webhook } from "@holdfast/edge/webhooks";
 *
 * const receive = webhook({
 *   verify: github({ secret: "the secret of the webhook" }),
 *   store: memoryStore(),
 *   name: "github",
 *   handle: async (event, { id, attempt, signal }) => {
 *     // once per delivery id; an error answers 500, and the sender tries again
 *   },
 * });
 * // Deno.serve(receive), export default { fetch: receive }, or app.post("/hooks", …) by `webhook` of ./hono
 * ```
 *
 * @module
 */

export { webhook } from "./create_webhook.ts";
export * from "./github.ts";
export * from "./mailgun.ts";
export * from "./sendgrid.ts";
export * from "./signed_webhook.ts";
export * from "./slack.ts";
export * from "./standard_webhooks.ts";
export * from "./stripe.ts";
export type { ContextStore, WaitUntilOption } from "../http/exchange.ts";
export type * from "./webhook.ts";
