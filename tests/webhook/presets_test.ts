/** Every preset: accepts its sender, and refuses what its sender did not sign. */
import { EventWebhook } from "@sendgrid/eventwebhook";
import {
  github,
  mailgun,
  sendgrid,
  signedWebhook,
  slack,
  standardWebhooks,
  stripe,
  svix,
  type WebhookVerdict,
  type WebhookVerifier,
} from "@holdfast/edge/webhooks";
import { assert, assertEquals, assertThrows } from "../support/assert.ts";
import { type Delivery, senders, sendgridKey } from "./_senders.ts";

const NOW = 1_760_000_000;
const encoder = new TextEncoder();

async function judge(
  verify: WebhookVerifier,
  { headers, body }: { headers: Record<string, string>; body: string | Uint8Array<ArrayBuffer> },
  seconds: number,
): Promise<WebhookVerdict> {
  const bytes = typeof body === "string" ? encoder.encode(body) : body;
  return await verify({ headers: new Headers(headers), body: bytes, now: seconds * 1000 }, undefined);
}

const state = async (verify: WebhookVerifier, delivery: Delivery, seconds: number) =>
  (await judge(verify, delivery, seconds)).state;

/** Vectors from providers' documents, or from the tests of their packages. */
const PUBLISHED: readonly {
  readonly of: string;
  readonly verify: WebhookVerifier;
  readonly delivery: Delivery;
  readonly seconds: number;
  readonly id: string;
}[] = [
  {
    of: "Standard Webhooks, https://github.com/standard-webhooks/standard-webhooks (libraries' tests)",
    verify: standardWebhooks({ secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }),
    delivery: {
      headers: {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
      },
      body: '{"test": 2432232314}',
    },
    seconds: 1_614_265_330,
    id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
  },
  {
    of: "Svix, https://docs.svix.com/receiving/verifying-payloads/how-manual",
    verify: svix({ secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }),
    delivery: {
      headers: {
        "svix-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "svix-timestamp": "1614265330",
        "svix-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
      },
      body: '{"test": 2432232314}',
    },
    seconds: 1_614_265_330,
    id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
  },
  {
    of: "Slack, https://docs.slack.dev/authentication/verifying-requests-from-slack",
    verify: slack({ secret: "8f742231b10e8888abcd99yyyzzz85a5" }),
    delivery: {
      headers: {
        "content-type": "application/x-www-form-urlencoded",
        "x-slack-request-timestamp": "1531420618",
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
      },
      body: "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V" +
        "&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=" +
        "&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN" +
        "&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
    },
    seconds: 1_531_420_618,
    id: "398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
  },
  {
    of: "SendGrid, https://github.com/sendgrid/sendgrid-nodejs (packages/eventwebhook, its tests)",
    verify: sendgrid({
      publicKey:
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g==",
    }),
    delivery: {
      headers: {
        "x-twilio-email-event-webhook-signature":
          "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=",
        "x-twilio-email-event-webhook-timestamp": "1600112502",
      },
      body: JSON.stringify([{
        email: "hello@world.com",
        event: "dropped",
        reason: "Bounced Address",
        sg_event_id: "ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",
        sg_message_id: "LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",
        "smtp-id": "<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>",
        timestamp: 1600112492,
      }]) + "\r\n",
    },
    seconds: 1_600_112_502,
    id: "ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",
  },
];

for (const { of, verify, delivery, seconds, id } of PUBLISHED) {
  Deno.test(`webhooks: the published vector of ${of}`, async () => {
    const verdict = await judge(verify, delivery, seconds);
    assertEquals(verdict.state === "verified" && verdict.events.map((event) => event.id), [id]);
    assertEquals(await state(verify, { ...delivery, body: delivery.body + " " }, seconds), "refused");
    assertEquals(await state(verify, delivery, seconds + 2 * 86_400), "refused");
  });
}

Deno.test("webhooks: the published vector of GitHub, whose body is no JSON", async () => {
  const verify = github({ secret: "It's a Secret to Everybody" });
  const headers = {
    "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
    "x-github-delivery": "1",
  };
  assertEquals(await state(verify, { headers, body: "Hello, World!" }, NOW), "malformed", "it is signed");
  assertEquals(await state(verify, { headers, body: "Hello, World?" }, NOW), "refused");
});

/** The delivery with one bit of one character of the signature or of the body changed. */
function flipped(text: string, at: number): string {
  const bytes = encoder.encode(text);
  bytes[at]! ^= 1;
  return new TextDecoder().decode(bytes);
}

const right = (name: string) => senders.find((sender) => sender.name === name)!;

for (const sender of senders) {
  const event = { kind: "order.paid", amount: 4200, note: "Größe 10/1, naïve" };
  Deno.test(`webhooks: ${sender.name} accepts what ${sender.signer} signs, also while secrets are rotated`, async () => {
    const delivery = await sender.sign("evt_1", event, NOW);
    for (const which of ["right", "rotated"] as const) {
      const verdict = await judge(sender.verifier(which), delivery, NOW + 10);
      assert(verdict.state === "verified", `${which}: ${JSON.stringify(verdict)}`);
      assertEquals(verdict.events.map(({ id }) => id), ["evt_1"]);
      assert(JSON.stringify(verdict.events[0]!.payload).includes("naïve"));
    }
  });

  Deno.test(`webhooks: ${sender.name} refuses a wrong secret, an old and a future timestamp`, async () => {
    const delivery = await sender.sign("evt_1", event, NOW);
    assertEquals(await state(sender.verifier("wrong"), delivery, NOW), "refused");
    const verify = sender.verifier("right");
    if (!sender.timed) return;
    assertEquals(await state(verify, delivery, NOW + sender.tolerance), "verified");
    assertEquals(await state(verify, delivery, NOW + sender.tolerance + 1), "refused");
    assertEquals(await state(verify, delivery, NOW - sender.tolerance - 1), "refused");
  });

  Deno.test(`webhooks: ${sender.name} refuses one flipped bit anywhere, and a body that was parsed and written again`, async () => {
    const delivery = await sender.sign("evt_1", event, NOW);
    const verify = sender.verifier("right");
    const { body, headers } = delivery;
    if (sender.signsBody) {
      const bytes = encoder.encode(body);
      for (let at = 0; at < bytes.length; at++) {
        const other = bytes.slice();
        other[at]! ^= 1 << (at % 8);
        assertEquals((await judge(verify, { headers, body: other }, NOW)).state, "refused", `byte ${at}`);
      }
      const again = JSON.stringify(JSON.parse(body), undefined, body.includes("\n  ") ? 0 : 1);
      assertEquals(await state(verify, { headers, body: again }, NOW), "refused");
    } else {
      const { signature } = JSON.parse(body);
      for (const name of ["timestamp", "token", "signature"]) {
        for (let at = 0; at < signature[name].length; at++) {
          const changed = { ...signature, [name]: flipped(signature[name], at) };
          const other = JSON.stringify({ ...JSON.parse(body), signature: changed });
          assertEquals(await state(verify, { headers, body: other }, NOW), "refused", `${name} ${at}`);
        }
      }
    }
    for (const [name, value] of Object.entries(headers)) {
      if (!/signature/.test(name)) continue;
      // The last characters of base64 may hold unused bits, and a sender's other versions are ignored.
      const from = value.lastIndexOf("=", value.length - 4) + 1 || value.lastIndexOf(",") + 1;
      for (let at = from; at < value.length - 3; at += 3) {
        const verdict = await state(
          verify,
          { body, headers: { ...headers, [name]: flipped(value, at) } },
          NOW,
        );
        assertEquals(verdict, "refused", `${name} ${at}`);
      }
      assertEquals(await state(verify, { body, headers: { ...headers, [name]: "" } }, NOW), "refused");
    }
    assertEquals(await state(verify, { body: "", headers: {} }, NOW), "refused");
  });
}

Deno.test("webhooks: SendGrid's own verifier accepts what the test signs for sendgrid()", async () => {
  const { headers, body } = await right("sendgrid").sign("evt_1", { event: "delivered" }, NOW);
  const theirs = new EventWebhook();
  const [signature, timestamp] = Object.values(headers);
  assert(theirs.verifySignature(theirs.convertPublicKeyToECDSA(sendgridKey), body, signature!, timestamp!));
});

Deno.test("webhooks: of hundreds of signatures the first eight are looked at", async () => {
  const sender = right("standardWebhooks");
  const { headers, body } = await sender.sign("evt_1", {}, NOW);
  const good = headers["webhook-signature"]!;
  const wrong = `v1,${btoa("x".repeat(32))}`;
  const among = (before: number) => ({
    body,
    headers: { ...headers, "webhook-signature": [...Array(before).fill(wrong), good].join(" ") },
  });
  assertEquals(await state(sender.verifier("right"), among(7), NOW), "verified");
  assertEquals(await state(sender.verifier("right"), among(8), NOW), "refused");
});

Deno.test("webhooks: header fields of two families are not mixed", async () => {
  const { headers, body } = await right("svix (Resend)").sign("evt_1", {}, NOW);
  const mixed = { ...headers, "webhook-id": "evt_2", "webhook-timestamp": "1" };
  const verdict = await judge(right("svix (Resend)").verifier("right"), { headers: mixed, body }, NOW);
  assertEquals(verdict.state === "verified" && verdict.events[0]!.id, "evt_1");
});

Deno.test("webhooks: slack answers the challenge of a new endpoint once it is verified", async () => {
  const body = JSON.stringify({ type: "url_verification", challenge: "3eZbrw1aB1" });
  const sender = right("slack");
  // The signer of the table writes its own body, so the same key signs this one by its vector form.
  const { createHmac } = await import("node:crypto");
  const signature = createHmac("sha256", "right").update(`v0:${NOW}:${body}`).digest("hex");
  const headers = { "x-slack-request-timestamp": String(NOW), "x-slack-signature": `v0=${signature}` };
  const verdict = await judge(sender.verifier("right"), { headers, body }, NOW);
  assert(verdict.state === "answered");
  assertEquals(await verdict.response.json(), { challenge: "3eZbrw1aB1" });
  assertEquals(await state(sender.verifier("wrong"), { headers, body }, NOW), "refused");
});

Deno.test("webhooks: github reads the payload of a form", async () => {
  const { sign } = await import("@octokit/webhooks-methods");
  const body = new URLSearchParams({ payload: JSON.stringify({ action: "opened" }) }).toString();
  const headers = {
    "content-type": "application/x-www-form-urlencoded",
    "x-hub-signature-256": await sign("right", body),
    "x-github-delivery": "72d3162e",
  };
  const verdict = await judge(right("github").verifier("right"), { headers, body }, NOW);
  assertEquals(verdict.state === "verified" && verdict.events, [{
    id: "72d3162e",
    payload: { action: "opened" },
  }]);
});

Deno.test("webhooks: a secret that is missing or unreadable fails when the app is made", () => {
  const makers = [standardWebhooks, svix, stripe, github, slack, mailgun] as const;
  for (const make of makers) {
    for (const secret of [undefined, "", [], [""], ["a", undefined]]) {
      assertThrows(() => make({ secret } as unknown as { secret: string }), TypeError);
    }
    assertThrows(() => make(undefined as unknown as { secret: string }), TypeError);
  }
  standardWebhooks({ secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n" }); // as a file of secrets ends
  for (const secret of ["whsec_", "whsec_c2hvcnQ=", "whsec_***", "whsec_***\n", "whpk_AAAA"]) {
    assertThrows(() => standardWebhooks({ secret }), TypeError);
  }
  assertThrows(() => sendgrid({ publicKey: "AAAA" }), TypeError);
  assertThrows(() => stripe({ secret: "a", tolerance: 0 }), RangeError);
  const generic = { secret: "a", signature: "x-signature", id: () => "1" };
  for (
    const bad of [
      { secret: undefined },
      { id: undefined },
      { signature: undefined },
      { algorithm: "md5" },
      { encoding: "binary" },
      { algorithm: "ed25519" },
    ]
  ) {
    assertThrows(() => signedWebhook({ ...generic, ...bad } as typeof generic), TypeError);
  }
});
