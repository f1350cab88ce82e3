/**
 * Senders of webhooks: published vectors of the providers' documents, and signers that are not ours: the
 * providers' own packages, or Node's crypto where a provider has none.
 */
import { createHmac, generateKeyPairSync, sign as nodeSign } from "node:crypto";
import { sign as githubSign } from "@octokit/webhooks-methods";
import Stripe from "stripe";
import { Webhook as StandardWebhook } from "standardwebhooks";
import { Webhook as SvixWebhook } from "svix";
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

/** A signed delivery. */
export interface Delivery {
  readonly headers: Record<string, string>;
  readonly body: string;
}

/** A provider: its preset under a secret, and a signer of its own. */
export interface Sender {
  readonly name: string;
  /** The signer: a package, or a published vector. */
  readonly signer: string;
  /** The preset with the right secret, several of them, or another one. */
  verifier(which: "right" | "rotated" | "wrong"): PresetVerifier;
  /** Signs an event at that time, in seconds. */
  sign(id: string, payload: Record<string, unknown>, seconds: number): Promise<Delivery> | Delivery;
  /** The options of the preset with the right secret, where they are plain data. */
  readonly options?: object;
  /** Signs a body as it is, where a delivery has many events. */
  readonly signBody?: (body: string, seconds: number) => Promise<Delivery>;
  /** Whether a time is signed. */
  readonly timed: boolean;
  /** Whether the body is signed: Mailgun signs a token instead. */
  readonly signsBody: boolean;
  /** The longest tolerance of the preset, in seconds. */
  readonly tolerance: number;
}

const WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER_WHSEC = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const pick = (which: "right" | "rotated" | "wrong", right: string, other: string) =>
  which === "right" ? right : which === "wrong" ? other : [other, right];

const ecdsa = generateKeyPairSync("ec", { namedCurve: "P-256" });
const otherEcdsa = generateKeyPairSync("ec", { namedCurve: "P-256" });
const ed25519 = generateKeyPairSync("ed25519");
const otherEd25519 = generateKeyPairSync("ed25519");
const spki = (key: typeof ecdsa) => key.publicKey.export({ type: "spki", format: "der" }).toString("base64");
const rawKey = (key: typeof ed25519) =>
  key.publicKey.export({ type: "spki", format: "der" }).subarray(-32).toString("base64");
const hmac = (secret: string, content: string) => createHmac("sha256", secret).update(content).digest("hex");

function signSendgrid(body: string, seconds: number): Promise<Delivery> {
  const signature = nodeSign("sha256", new TextEncoder().encode(seconds + body), ecdsa.privateKey);
  const headers = {
    "x-twilio-email-event-webhook-signature": signature.toString("base64"),
    "x-twilio-email-event-webhook-timestamp": String(seconds),
  };
  return Promise.resolve({ headers, body });
}

export const senders: readonly Sender[] = [
  {
    name: "standardWebhooks",
    options: { secret: WHSEC },
    signer: "npm:standardwebhooks",
    verifier: (which) => standardWebhooks({ secret: pick(which, WHSEC, OTHER_WHSEC) }),
    sign(id, payload, seconds) {
      const body = JSON.stringify(payload);
      const signature = new StandardWebhook(WHSEC).sign(id, new Date(seconds * 1000), body);
      const headers = {
        "webhook-id": id,
        "webhook-timestamp": String(seconds),
        "webhook-signature": signature,
      };
      return { headers, body };
    },
    timed: true,
    signsBody: true,
    tolerance: 300,
  },
  {
    name: "standardWebhooks, Ed25519",
    options: { secret: `whpk_${rawKey(ed25519)}` },
    signer: "node:crypto",
    verifier: (which) =>
      standardWebhooks({ secret: pick(which, `whpk_${rawKey(ed25519)}`, `whpk_${rawKey(otherEd25519)}`) }),
    sign(id, payload, seconds) {
      const body = JSON.stringify(payload);
      const content = new TextEncoder().encode(`${id}.${seconds}.${body}`);
      const signature = nodeSign(null, content, ed25519.privateKey).toString("base64");
      const headers = {
        "webhook-id": id,
        "webhook-timestamp": String(seconds),
        "webhook-signature": `v1,AAAA v1a,${signature}`,
      };
      return { headers, body };
    },
    timed: true,
    signsBody: true,
    tolerance: 300,
  },
  {
    name: "svix (Resend)",
    options: { secret: WHSEC },
    signer: "npm:svix",
    verifier: (which) => svix({ secret: pick(which, WHSEC, OTHER_WHSEC) }),
    sign(id, payload, seconds) {
      const body = JSON.stringify(payload);
      const signature = new SvixWebhook(WHSEC).sign(id, new Date(seconds * 1000), body);
      return {
        headers: { "svix-id": id, "svix-timestamp": String(seconds), "svix-signature": signature },
        body,
      };
    },
    timed: true,
    signsBody: true,
    tolerance: 300,
  },
  {
    name: "stripe",
    options: { secret: "whsec_right" },
    signer: "npm:stripe",
    verifier: (which) => stripe({ secret: pick(which, "whsec_right", "whsec_wrong") }),
    async sign(id, payload, seconds) {
      const body = JSON.stringify({ id, object: "event", ...payload }, undefined, 2);
      const header = await new Stripe("sk_test_x").webhooks.generateTestHeaderStringAsync({
        payload: body,
        secret: "whsec_right",
        timestamp: seconds,
      });
      return { headers: { "stripe-signature": header }, body };
    },
    timed: true,
    signsBody: true,
    tolerance: 300,
  },
  {
    name: "github",
    options: { secret: "right" },
    signer: "npm:@octokit/webhooks-methods",
    verifier: (which) => github({ secret: pick(which, "right", "wrong") }),
    async sign(id, payload) {
      const body = JSON.stringify(payload);
      const headers = {
        "x-hub-signature-256": await githubSign("right", body),
        "x-github-delivery": id,
        "x-github-event": "push",
      };
      return { headers, body };
    },
    timed: false,
    signsBody: true,
    tolerance: Infinity,
  },
  {
    name: "slack",
    options: { secret: "right" },
    signer: "node:crypto",
    verifier: (which) => slack({ secret: pick(which, "right", "wrong") }),
    sign(id, payload, seconds) {
      const body = JSON.stringify({ type: "event_callback", event_id: id, event: payload });
      const headers = {
        "x-slack-request-timestamp": String(seconds),
        "x-slack-signature": `v0=${hmac("right", `v0:${seconds}:${body}`)}`,
      };
      return { headers, body };
    },
    timed: true,
    signsBody: true,
    tolerance: 300,
  },
  {
    name: "sendgrid",
    options: { publicKey: spki(ecdsa) },
    signer: "node:crypto, verified by npm:@sendgrid/eventwebhook",
    verifier: (which) => sendgrid({ publicKey: pick(which, spki(ecdsa), spki(otherEcdsa)) }),
    sign: (id, payload, seconds) =>
      signSendgrid(JSON.stringify([{ ...payload, sg_event_id: id }]) + "\r\n", seconds),
    signBody: signSendgrid,
    timed: true,
    signsBody: true,
    tolerance: 86_400,
  },
  {
    name: "mailgun",
    options: { secret: "right" },
    signer: "node:crypto",
    verifier: (which) => mailgun({ secret: pick(which, "right", "wrong") }),
    sign(id, payload, seconds) {
      const token = crypto.randomUUID().replaceAll("-", "") + "00112233aabbccdd";
      const signature = { timestamp: String(seconds), token, signature: hmac("right", `${seconds}${token}`) };
      return { headers: {}, body: JSON.stringify({ signature, "event-data": { id, ...payload } }) };
    },
    timed: true,
    signsBody: false,
    tolerance: 8 * 3600,
  },
  {
    name: "signedWebhook",
    signer: "node:crypto",
    verifier: (which) =>
      signedWebhook({
        secret: pick(which, "right", "wrong"),
        signature: "x-signature",
        prefix: "sha256=",
        timestamp: "x-timestamp",
        content: ({ headers, body }) => `${headers.get("x-timestamp")}.${new TextDecoder().decode(body)}`,
        id: (payload) => (payload as { id?: string }).id,
      }),
    sign(id, payload, seconds) {
      const body = JSON.stringify({ id, ...payload });
      const headers = {
        "x-signature": `sha256=${hmac("right", `${seconds}.${body}`)}`,
        "x-timestamp": String(seconds),
      };
      return { headers, body };
    },
    timed: true,
    signsBody: true,
    tolerance: 300,
  },
  {
    name: "signedWebhook, Ed25519",
    options: { secret: rawKey(ed25519), algorithm: "ed25519", encoding: "base64", signature: "x-signature" },
    signer: "node:crypto",
    verifier: (which) =>
      signedWebhook({
        secret: pick(which, rawKey(ed25519), rawKey(otherEd25519)),
        algorithm: "ed25519",
        encoding: "base64",
        signature: ({ headers }) => headers.get("x-signature"),
        id: (payload) => (payload as { id?: string }).id,
      }),
    sign(id, payload) {
      const body = JSON.stringify({ id, ...payload });
      const signature = nodeSign(null, new TextEncoder().encode(body), ed25519.privateKey);
      return { headers: { "x-signature": signature.toString("base64") }, body };
    },
    timed: false,
    signsBody: true,
    tolerance: Infinity,
  },
];

/** A delivery as a request. */
export function requestOf({ headers, body }: Delivery, url = "https://shop.example/hooks"): Request {
  return new Request(url, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body,
  });
}

/** The public key of the SendGrid sender, for SendGrid's own verifier. */
export const sendgridKey = spki(ecdsa);
