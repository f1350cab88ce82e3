import { sha256 } from "../secret.ts";
import { checkNeededOptions, checkOneOf, type OptionNames } from "../validate.ts";
import { json, type Scheme, secretsOf, signature, text, textKeys, verifyBy } from "./signature.ts";
import type { PresetVerifier } from "./webhook.ts";

/**
 * Options of {@linkcode github}.
 *
 * @category Webhooks
 */
export interface GithubWebhookOptions {
  /** The secret of the webhook; a list while it is replaced. */
  readonly secret: string | readonly string[];
  /**
   * The id of an event: `"delivery"` is `X-GitHub-Delivery`, which is not signed. `"body"` is a hash of the
   * body, which is: a delivery that is sent again under another id is a duplicate then, and so is an event
   * whose body is the same, byte for byte, as that of another one.
   * @default {"delivery"}
   */
  readonly id?: "delivery" | "body" | undefined;
}

const OPTIONS = { secret: true, id: true } satisfies OptionNames<GithubWebhookOptions>;

/**
 * Verifies deliveries of GitHub: `X-Hub-Signature-256` over the body, JSON or a form. The event's id is
 * `X-GitHub-Delivery`; its kind is `X-GitHub-Event`, in `delivery.request.headers`.
 *
 * GitHub signs neither a time nor the delivery's id: a delivery that a stranger has read can be sent again
 * under another id. Within the webhook's `retention`, `id: "body"` recognises it.
 *
 * @throws {TypeError} when the secret is missing, or an option is unknown
 * @see https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
 * @category Webhooks
 * @example
 * ```ts
 * import { github } from "@holdfast/edge/webhooks";
 * const verify = github({ secret: "It's a Secret to Everybody" });
 * const headers = new Headers({ "x-hub-signature-256": "sha256=00", "x-github-delivery": "1" });
 * const verdict = await verify({ headers, body: new Uint8Array(), now: Date.now() });
 * if (verdict.state !== "refused") throw new Error("unexpected");
 * ```
 */
export function github(options: GithubWebhookOptions): PresetVerifier {
  const task = "verify GitHub's webhooks";
  checkNeededOptions(task, options, OPTIONS, "'secret'");
  const by = checkOneOf(task, "id", options.id ?? "delivery", ["delivery", "body"] as const);
  const scheme: Scheme = {
    keys: textKeys(secretsOf(task, "secret", options.secret)),
    tolerance: undefined,
    read({ headers, body }) {
      const [, digits] = /^sha256=([0-9a-f]{64})$/i.exec(headers.get("x-hub-signature-256") ?? "") ?? [];
      if (digits === undefined) return "X-Hub-Signature-256 is missing or unreadable";
      return { signatures: signature(digits, "hex"), content: body };
    },
    async events({ headers, body }) {
      const id = by === "body" ? await sha256(body) : headers.get("x-github-delivery");
      const form = /^application\/x-www-form-urlencoded\b/i.test(headers.get("content-type") ?? "");
      const payload = json(form ? new URLSearchParams(text(body)).get("payload") ?? "" : body);
      return id && payload !== undefined ? [{ id, payload }] : undefined;
    },
  };
  return (message) => verifyBy(scheme, message);
}
