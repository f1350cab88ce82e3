import type { Duration } from "../duration.ts";
import { sha256 } from "../secret.ts";
import { checkNeededOptions, type OptionNames } from "../validate.ts";
import {
  joined,
  json,
  type Scheme,
  secretsOf,
  signature,
  text,
  textIn,
  textKeys,
  toleranceOf,
  verifyBy,
} from "./signature.ts";
import type { PresetVerifier, WebhookMessage } from "./webhook.ts";

/**
 * Options of {@linkcode slack}.
 *
 * @category Webhooks
 */
export interface SlackWebhookOptions {
  /** The signing secret of the app; a list while it is replaced. */
  readonly secret: string | readonly string[];
  /**
   * The longest time between the signed timestamp and now, in both directions.
   * @default {"5m"}
   */
  readonly tolerance?: Duration | undefined;
}

const OPTIONS = { secret: true, tolerance: true } satisfies OptionNames<SlackWebhookOptions>;

/**
 * Verifies requests of Slack: events, commands and interactions. The challenge of a new endpoint is answered.
 * The id is the event's `event_id`, else the `trigger_id` of a command or an interaction, else a hash of the
 * request. The payload is the JSON, or the fields of the form.
 *
 * @throws {TypeError | RangeError} when the secret is missing, or an option is unknown
 * @see https://docs.slack.dev/authentication/verifying-requests-from-slack
 * @category Webhooks
 * @example
 * ```ts
 * import { slack } from "@holdfast/edge/webhooks";
 * const verify = slack({ secret: "the signing secret of the app" });
 * const verdict = await verify({ headers: new Headers(), body: new Uint8Array(), now: Date.now() });
 * if (verdict.state !== "refused") throw new Error("unexpected");
 * ```
 */
export function slack(options: SlackWebhookOptions): PresetVerifier {
  const task = "verify Slack's requests";
  checkNeededOptions(task, options, OPTIONS, "'secret'");
  const scheme: Scheme = {
    keys: textKeys(secretsOf(task, "secret", options.secret)),
    tolerance: toleranceOf(options.tolerance, "5m"),
    read({ headers, body }) {
      const timestamp = headers.get("x-slack-request-timestamp");
      const [, digits] = /^v0=([0-9a-f]{64})$/i.exec(headers.get("x-slack-signature") ?? "") ?? [];
      if (timestamp === null || digits === undefined) return "X-Slack-Signature is missing or unreadable";
      return { timestamp, signatures: signature(digits, "hex"), content: joined(`v0:${timestamp}:`, body) };
    },
    async events(message) {
      const payload = payloadOf(message);
      const id = textIn(payload, "event_id") ?? textIn(payload, "trigger_id");
      const timestamp = message.headers.get("x-slack-request-timestamp")!;
      return [{ id: id ?? await sha256(joined(`${timestamp}:`, message.body)), payload }];
    },
  };
  return async (message) => {
    const verdict = await verifyBy(scheme, message);
    const payload = verdict.state === "verified" ? verdict.events[0]!.payload : undefined;
    const challenge = textIn(payload, "challenge");
    if (textIn(payload, "type") !== "url_verification" || challenge === undefined) return verdict;
    return { state: "answered", response: Response.json({ challenge }) };
  };
}

/** JSON; of a form its fields, or the JSON in its field `payload`. */
function payloadOf({ headers, body }: WebhookMessage): unknown {
  if (!/^application\/x-www-form-urlencoded\b/i.test(headers.get("content-type") ?? "")) {
    return json(body) ?? text(body);
  }
  const fields = Object.fromEntries(new URLSearchParams(text(body)));
  return json(fields.payload ?? "") ?? fields;
}
