/** Options of single providers: each on the wire of a server that checks them, and on no other mailer. */
import {
  type Mailer,
  MailError,
  memoryMailer,
  type Message,
  outbox,
  type ProviderOptions,
  sendBulk,
} from "@holdfast/edge/mail";
import { memoryStore } from "@holdfast/edge";
import { brevoMailer } from "@holdfast/edge/brevo";
import { mailgunMailer } from "@holdfast/edge/mailgun";
import { postmarkMailer } from "@holdfast/edge/postmark";
import { resendMailer } from "@holdfast/edge/resend";
import { sendgridMailer } from "@holdfast/edge/sendgrid";
import { sesMailer } from "@holdfast/edge/ses";
import { AwsClient } from "aws4fetch";
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "../support/assert.ts";
import { BREVO_KEY } from "../support/mail/brevo_server.ts";
import type { MailServer } from "../support/mail/http_server.ts";
import { MAILGUN_DOMAIN, MAILGUN_KEY } from "../support/mail/mailgun_server.ts";
import { POSTMARK_TOKEN } from "../support/mail/postmark_server.ts";
import { providers, senders } from "../support/mail/providers.ts";
import { RESEND_KEY } from "../support/mail/resend_server.ts";
import { SENDGRID_KEY } from "../support/mail/sendgrid_server.ts";
import { SES_CREDENTIALS, SES_REGION } from "../support/mail/ses_server.ts";

const envelope = { from: "shop@example.com", to: "jane@example.com" };
const message: Message = { ...envelope, subject: "Hello", text: "Hello" };

/** The fields of a request: of its JSON, or of its form. */
async function wire(server: MailServer, index = 0): Promise<Record<string, unknown>> {
  const { headers, body } = server.requests[index]!;
  if (headers.get("content-type")?.startsWith("application/json")) {
    return JSON.parse(new TextDecoder().decode(body));
  }
  return Object.fromEntries(await new Response(body, { headers }).formData());
}

/** The options of each provider, all at once, and what the provider's own fields are then. */
const table: Record<string, { options: ProviderOptions; fields: Record<string, unknown> }> = {
  resend: {
    options: { resend: { topicId: "topic-1" } },
    fields: { topic_id: "topic-1" },
  },
  sendgrid: {
    options: {
      sendgrid: {
        asm: { groupId: 7, groupsToDisplay: [7, 8] },
        mailSettings: { sandboxMode: { enable: true }, bypassSpamManagement: { enable: false } },
        trackingSettings: { clickTracking: { enable: false, enableText: false } },
        ipPoolName: "transactional",
        batchId: "batch-1",
      },
    },
    fields: {
      asm: { group_id: 7, groups_to_display: [7, 8] },
      mail_settings: { sandbox_mode: { enable: true }, bypass_spam_management: { enable: false } },
      tracking_settings: { click_tracking: { enable: false, enable_text: false } },
      ip_pool_name: "transactional",
      batch_id: "batch-1",
    },
  },
  ses: {
    options: {
      ses: {
        configurationSetName: "events",
        tenantName: "tenant-1",
        endpointId: "endpoint.1",
        fromArn: "arn:aws:ses:us-east-1:1:identity/example.com",
        feedbackAddress: "bounces@example.com",
        feedbackArn: "arn:aws:ses:us-east-1:1:identity/bounces.example.com",
        listManagement: { contactListName: "news", topicName: "offers" },
      },
    },
    fields: {
      ConfigurationSetName: "events",
      TenantName: "tenant-1",
      EndpointId: "endpoint.1",
      FromEmailAddressIdentityArn: "arn:aws:ses:us-east-1:1:identity/example.com",
      FeedbackForwardingEmailAddress: "bounces@example.com",
      FeedbackForwardingEmailAddressIdentityArn: "arn:aws:ses:us-east-1:1:identity/bounces.example.com",
      ListManagementOptions: { ContactListName: "news", TopicName: "offers" },
    },
  },
  mailgun: {
    options: {
      mailgun: {
        tracking: true,
        trackingClicks: "htmlonly",
        trackingOpens: false,
        testmode: true,
        dkim: true,
        requireTls: true,
        skipVerification: false,
        sendingIp: "192.0.2.1",
        sendingIpPool: "pool-1",
      },
    },
    fields: {
      "o:tracking": "yes",
      "o:tracking-clicks": "htmlonly",
      "o:tracking-opens": "no",
      "o:testmode": "yes",
      "o:dkim": "yes",
      "o:require-tls": "yes",
      "o:skip-verification": "no",
      "o:sending-ip": "192.0.2.1",
      "o:sending-ip-pool": "pool-1",
    },
  },
  postmark: {
    options: { postmark: { messageStream: "broadcast", trackOpens: true, trackLinks: "HtmlOnly" } },
    fields: { MessageStream: "broadcast", TrackOpens: true, TrackLinks: "HtmlOnly" },
  },
  brevo: {
    options: { brevo: { batchId: "5c6cfa04-eed9-42c2-8b5c-6d470d978e9d", params: { city: "Basel" } } },
    fields: { batchId: "5c6cfa04-eed9-42c2-8b5c-6d470d978e9d", params: { city: "Basel" } },
  },
};

/** A template of each provider in place of a body. */
const templates: Record<string, { options: ProviderOptions; fields: Record<string, unknown> }> = {
  resend: {
    options: { resend: { template: { id: "welcome", variables: { name: "Jané", visits: 3 } } } },
    fields: { template: { id: "welcome", variables: { name: "Jané", visits: 3 } }, text: undefined },
  },
  sendgrid: {
    options: {
      sendgrid: { templateId: "d-17", dynamicTemplateData: { firstName: "Jané", items: [{ aB: 1 }] } },
    },
    fields: {
      template_id: "d-17",
      content: undefined,
      subject: undefined,
      personalizations: [{
        to: [{ email: "jane@example.com" }],
        dynamic_template_data: { firstName: "Jané", items: [{ aB: 1 }] },
      }],
    },
  },
  ses: {
    options: { ses: { template: { name: "welcome", data: { name: "Jané" } } } },
    fields: { Content: { Template: { TemplateName: "welcome", TemplateData: '{"name":"Jané"}' } } },
  },
  mailgun: {
    options: {
      mailgun: {
        template: "welcome",
        templateVersion: "v2",
        templateText: true,
        variables: { name: "Jané", items: [1] },
      },
    },
    fields: {
      "template": "welcome",
      "t:version": "v2",
      "t:text": "yes",
      "t:variables": '{"name":"Jané","items":[1]}',
      "text": undefined,
    },
  },
  postmark: {
    options: { postmark: { templateAlias: "welcome", templateModel: { name: "Jané" }, inlineCss: true } },
    fields: {
      TemplateAlias: "welcome",
      TemplateModel: { name: "Jané" },
      InlineCss: true,
      Subject: undefined,
    },
  },
  brevo: {
    options: { brevo: { templateId: 17, params: { name: "Jané" } } },
    fields: { templateId: 17, params: { name: "Jané" }, subject: undefined },
  },
};

async function assertFields(server: MailServer, fields: Record<string, unknown>): Promise<void> {
  const found = await wire(server);
  for (const [name, value] of Object.entries(fields)) assertEquals(found[name], value, name);
}

for (const [name, { options, fields }] of Object.entries(table)) {
  Deno.test(`${name}: each option of the provider is a field of the request`, async () => {
    const { start, mailer } = providers[name]!;
    await using server = await start();
    await mailer(server.url).send({ ...message, provider: options });
    await assertFields(server, fields);
    assertEquals(server.accepted[0]!.text, "Hello");
  });
}

for (const [name, { options, fields }] of Object.entries(templates)) {
  Deno.test(`${name}: a template takes the place of subject and body, and files go beside it`, async () => {
    const { start, mailer } = providers[name]!;
    await using server = await start();
    await mailer(server.url).send({ ...envelope, provider: options });
    await assertFields(server, fields);
    await mailer(server.url).send({
      ...envelope,
      headers: { "X-Order": "17" },
      provider: options,
      attachments: [{ filename: "terms.txt", content: "terms" }],
    });
    const { attachments: [file], headers } = server.accepted[1]!;
    assertEquals([file!.filename, headers["x-order"]], ["terms.txt", "17"]);
  });
}

Deno.test("options for other mailers are refused by name, before anything is sent", async () => {
  for (const [name, { start, mailer }] of Object.entries(senders)) {
    await using server = await start();
    const own = mailer(server.url);
    for (const [other, { options }] of Object.entries(table)) {
      if (other === own.name) continue;
      const error = await assertRejects(() => own.send({ ...message, provider: options }), MailError);
      assertEquals([error.code, error.delivery, error.phase], ["unsupported", "not-sent", "prepare"], name);
      assertMatch(error.message, new RegExp(`options of ${other}$`));
    }
    assertEquals(server.requests.length, 0, name);
    // A message that names several goes by each of them.
    const both = { ...table["ses"]!.options, [own.name]: {} };
    if (name !== "ses, raw, temporary credentials") await own.send({ ...message, provider: both });
  }
});

Deno.test("a mistyped option of a provider is a TypeError that names it, and nothing is sent", async () => {
  for (const { start, mailer } of Object.values(senders)) {
    await using server = await start();
    const own = mailer(server.url);
    const provider = { [own.name]: { templateld: "x" } };
    const error = await assertRejects(() => own.send({ ...message, provider }), TypeError);
    assertMatch(error.message, new RegExp(`'provider.${own.name}'.*'templateld'`));
    await assertRejects(() => own.send({ ...message, provider: 7 as never }), TypeError);
    const empty = { ...envelope, provider: { [own.name]: {} } };
    await assertRejects(() => own.send(empty), TypeError);
    await assertRejects(() => own.send({ ...empty, subject: "Hello" }), TypeError);
    assertEquals(server.requests.length, 0);
  }
});

/** Each mailer with all of its options as defaults. */
const withDefaults: Record<string, (baseUrl: string, defaults: never) => Mailer> = {
  resend: (baseUrl, defaults) => resendMailer({ apiKey: RESEND_KEY, baseUrl, defaults }),
  sendgrid: (baseUrl, defaults) => sendgridMailer({ apiKey: SENDGRID_KEY, baseUrl, defaults }),
  ses: (baseUrl, defaults) =>
    sesMailer({ region: SES_REGION, client: new AwsClient(SES_CREDENTIALS), baseUrl, defaults }),
  mailgun: (baseUrl, defaults) =>
    mailgunMailer({ apiKey: MAILGUN_KEY, domain: MAILGUN_DOMAIN, baseUrl, defaults }),
  postmark: (baseUrl, defaults) => postmarkMailer({ serverToken: POSTMARK_TOKEN, baseUrl, defaults }),
  brevo: (baseUrl, defaults) => brevoMailer({ apiKey: BREVO_KEY, baseUrl, defaults }),
};

for (const [name, make] of Object.entries(withDefaults)) {
  Deno.test(`${name}: defaults of the mailer hold for each message, and one of a message replaces its own alone`, async () => {
    await using server = await providers[name]!.start();
    const { options, fields } = table[name]!;
    const mailer = make(server.url, options[name] as never);
    await mailer.send(message);
    await assertFields(server, fields);
    const [first] = Object.entries(options[name]!);
    const other = typeof first![1] === "string" ? { [first![0]]: `${first![1]}`.toUpperCase() } : {};
    if (name !== "brevo") await mailer.send({ ...message, provider: { [name]: other } });
    assertThrows(() => make(server.url, { templateld: "x" } as never), TypeError);
  });
}

Deno.test("resend: a batch carries the options of each message, and its SDK the same", async () => {
  await using server = await providers["resend"]!.start();
  const mailer = resendMailer({ apiKey: RESEND_KEY, baseUrl: server.url, defaults: { topicId: "news" } });
  const messages: Message[] = [
    { ...envelope, provider: { resend: { template: { id: "welcome" } } } },
    { ...message, provider: { sendgrid: {} } },
    message,
  ];
  const states: string[] = [];
  for await (const { state } of sendBulk(mailer, messages)) states.push(state);
  assertEquals(states, ["sent", "failed", "sent"]);
  const body = await wire(server) as unknown as Record<string, unknown>[];
  assertEquals(body.map(({ topic_id, template }) => [topic_id, template]), [
    ["news", { id: "welcome" }],
    ["news", undefined],
  ]);
  const sdk = providers["resend, by its SDK"]!.mailer(server.url);
  await sdk.send({ ...message, provider: { resend: { topicId: "offers" } } });
  assertEquals((await wire(server, 1)).topic_id, "offers");
});

Deno.test("ses signs after the options: a signature covers every one of them", async () => {
  await using server = await providers["ses"]!.start(); // which computes the signature anew
  const mailer = providers["ses"]!.mailer(server.url);
  await mailer.send({ ...message, provider: table["ses"]!.options });
  assertEquals(server.accepted.length, 1);
  const raw = providers["ses, raw, temporary credentials"]!.mailer(server.url);
  await raw.send({ ...message, provider: table["ses"]!.options });
  assertEquals((await wire(server, 1)).TenantName, "tenant-1");
  const template = { ...envelope, provider: templates["ses"]!.options };
  await assertRejects(() => raw.send(template), TypeError); // MIME is built here, without a body
});

Deno.test("memoryMailer keeps the options of any provider, and builds a message without a body", async () => {
  const mailer = memoryMailer();
  await mailer.send({ ...envelope, provider: templates["sendgrid"]!.options });
  const [mail] = mailer.outbox;
  assertEquals(mail!.message.provider, templates["sendgrid"]!.options);
  assert(mail!.mime.size > 0);
});

Deno.test("an outbox keeps the options of a message until it is sent", async () => {
  await using server = await providers["ses"]!.start();
  const box = outbox(providers["ses"]!.mailer(server.url), memoryStore());
  await box.send({ ...envelope, provider: templates["ses"]!.options });
  assertEquals((await box.drain()).sent, 1);
  await assertFields(server, templates["ses"]!.fields);
});

Deno.test("a mailer by the public kit takes at most 40 lines", async () => {
  const source = await Deno.readTextFile(new URL("../support/mail/kit_mailer.ts", import.meta.url));
  const code = source.slice(source.indexOf("export function")).trim().split("\n");
  assert(code.length <= 40, `${code.length} lines`);
});
