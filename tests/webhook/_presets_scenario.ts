/** Every kind of signature under every runtime's own Web Crypto: the verdicts on a right and on a wrong delivery. */
import {
  github,
  mailgun,
  type PresetVerifier,
  sendgrid,
  signedWebhook,
  slack,
  standardWebhooks,
  stripe,
  svix,
} from "@holdfast/edge/webhooks";

/** A signed delivery, and the options of the preset that verifies it. */
export interface Signed {
  readonly preset: string;
  // deno-lint-ignore no-explicit-any
  readonly options: any;
  readonly headers: Record<string, string>;
  readonly body: string;
}

const PRESETS: Record<string, (options: Signed["options"]) => PresetVerifier> = {
  github,
  mailgun,
  sendgrid,
  signedWebhook: (options) => signedWebhook({ ...options, id: (payload) => (payload as { id: string }).id }),
  slack,
  standardWebhooks,
  stripe,
  svix,
};

/** The states of each delivery as it is, and with another body. */
export async function scenario(
  { deliveries, now }: { deliveries: readonly Signed[]; now: number },
): Promise<string[]> {
  const verdicts: string[] = [];
  for (const { preset, options, headers, body } of deliveries) {
    const verify = PRESETS[preset]!(options);
    const other = body.replace("evt_1", "evt_2").replace(/"token":"./, `"token":"_`);
    const states: string[] = [];
    for (const text of [body, other]) {
      const bytes = new TextEncoder().encode(text);
      const verdict = await verify({ headers: new Headers(headers), body: bytes, now });
      states.push(verdict.state === "verified" ? verdict.events.map(({ id }) => id).join() : verdict.state);
    }
    verdicts.push(`${preset}: ${states.join(", ")}`);
  }
  return verdicts;
}
