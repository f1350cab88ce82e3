/** SES's signatures: published vectors, aws4fetch, and a computation of our own over node:crypto agree. */
import { sesMailer } from "@holdfast/edge/ses";
import { AwsClient, AwsV4Signer } from "aws4fetch";
import { createHash } from "node:crypto";
import { assert, assertEquals } from "../support/assert.ts";
import { providers } from "../support/mail/providers.ts";
import { SES_CREDENTIALS, SES_REGION, SES_SESSION_TOKEN, signature } from "../support/mail/ses_server.ts";

const DATE = "20150830T123600Z";
const URL_ = "https://email.us-east-1.amazonaws.com/v2/email/outbound-emails";
const BODY =
  '{"FromEmailAddress":"sender@example.com","Destination":{"ToAddresses":["b@example.com"]},"Content":{"Simple":' +
  '{"Subject":{"Data":"Hi","Charset":"UTF-8"},"Body":{"Text":{"Data":"x","Charset":"UTF-8"}}}}}';

Deno.test("SigV4: the published suite's post-vanilla, by aws4fetch and by the verifying server", async () => {
  const expected = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b";
  const scope = { region: "us-east-1", service: "service" };
  const url = "https://example.amazonaws.com/";
  const signer = new AwsV4Signer({ ...SES_CREDENTIALS, ...scope, method: "POST", url, datetime: DATE });
  assertEquals(await signer.signature(), expected);
  const signed: [string, string][] = [["host", "example.amazonaws.com"], ["x-amz-date", DATE]];
  const secret = SES_CREDENTIALS.secretAccessKey;
  assertEquals(
    signature({ method: "POST", path: "/", body: "" }, signed, { ...scope, secret, date: DATE }),
    expected,
  );
});

Deno.test("SigV4: the suite's temporary credentials, whose token is signed", async () => {
  const token =
    "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
  const signer = new AwsV4Signer({
    ...SES_CREDENTIALS,
    sessionToken: token,
    method: "POST",
    url: "https://example.amazonaws.com/",
    service: "service",
    region: "us-east-1",
    datetime: DATE,
  });
  // The suite's post-sts-header-before.
  assertEquals(await signer.signature(), "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead");
});

Deno.test("SigV4: the path and host of SES, with and without a token, by both", async () => {
  assertEquals(
    createHash("sha256").update(BODY).digest("hex"),
    "9b87d8a920b4d74370f9853bcb78a82ce2eb7dea194edcb00ce50991b99769b1",
  );
  const golden: [token: string | undefined, expected: string][] = [
    [undefined, "d38d295faafc1ed3570ce2dca3e351bbf088fa485e3539a13a3e1b44374f9f16"],
    [SES_SESSION_TOKEN, "d24da9bb721f5f8919e047676505681dd1fdfeb3e1f0e1f64e93203432a322b5"],
  ];
  for (const [sessionToken, expected] of golden) {
    const signer = new AwsV4Signer({
      ...SES_CREDENTIALS,
      ...(sessionToken !== undefined && { sessionToken }),
      method: "POST",
      url: URL_,
      body: BODY,
      service: "ses",
      region: SES_REGION,
      datetime: DATE,
    });
    assertEquals(await signer.signature(), expected);
    const signed: [string, string][] = [
      ["host", "email.us-east-1.amazonaws.com"],
      ["x-amz-date", DATE],
      ...(sessionToken === undefined ? [] : [["x-amz-security-token", sessionToken] as [string, string]]),
    ];
    const own = signature({ method: "POST", path: "/v2/email/outbound-emails", body: BODY }, signed, {
      secret: SES_CREDENTIALS.secretAccessKey,
      date: DATE,
      region: SES_REGION,
      service: "ses",
    });
    assertEquals(own, expected);
  }
});

Deno.test("SES: what the mailer signs is accepted; a wrong secret, token or region is not", async () => {
  const { start } = providers["ses"]!;
  await using server = await start();
  const message = { from: "shop@example.com", to: "jane@example.com", subject: "Grüße", text: "ü" };
  const access = { region: SES_REGION, client: new AwsClient(SES_CREDENTIALS), baseUrl: server.url };
  const others = (changes: object) => ({
    ...access,
    client: new AwsClient({ ...SES_CREDENTIALS, ...changes }),
  });
  assert((await sesMailer(access).send(message)).id);
  assert((await sesMailer(others({ sessionToken: SES_SESSION_TOKEN })).send(message)).id);
  const bad = [
    others({ secretAccessKey: "wrong" }),
    others({ accessKeyId: "AKIDOTHER" }),
    others({ sessionToken: "wrong" }),
    { ...access, region: "eu-central-1" },
  ];
  for (const one of bad) {
    const error = await sesMailer(one).send(message).catch((error) => error);
    assertEquals([error.code, error.delivery], ["unauthorized", "not-sent"]);
  }
  assertEquals(server.accepted.length, 2);
});

Deno.test("SES: a client from a function is asked for before each request, and its failure sends nothing", async () => {
  const { start } = providers["ses"]!;
  await using server = await start();
  const message = { from: "shop@example.com", to: "jane@example.com", subject: "Hello", text: "Hello" };
  let asked = 0;
  const client = () => {
    if (++asked === 2) throw new Error("no role");
    return Promise.resolve(new AwsClient(SES_CREDENTIALS));
  };
  const mailer = sesMailer({ region: SES_REGION, client, baseUrl: server.url });
  await mailer.send(message);
  const error = await mailer.send(message).catch((error) => error);
  assertEquals([error.code, error.delivery, server.requests.length], ["unauthorized", "not-sent", 1]);
  await mailer.send(message);
  assertEquals([asked, server.accepted.length], [3, 2]);
});
