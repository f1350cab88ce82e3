/** The mail page of `examples/mail-page`: what it shows, and what a hostile message cannot do to it. */
import { memoryMailer } from "@holdfast/edge/mail";
import { mailPage } from "../../examples/mail-page/mail_page.ts";
import { assert, assertEquals } from "../support/assert.ts";

const hostile = `"><script>alert(1)</script>&`;

async function setup() {
  const mailer = memoryMailer();
  await mailer.send({
    from: { name: hostile, address: "shop@example.com" },
    to: "jane@example.com",
    bcc: "log@example.com",
    subject: `Order 17 ${hostile}`,
    text: `Thank you ${hostile}`,
    html: `<p>Thank you<img src="cid:logo"><script>alert(1)</script></p>`,
    headers: { "X-Order": "17" },
    attachments: [
      { filename: "logo.png", contentType: "image/png", content: "png", contentId: "logo" },
      { filename: `terms ${hostile}.html`, contentType: "text/html", content: "<script>alert(1)</script>" },
    ],
  });
  await mailer.send({ from: "shop@example.com", to: "john@example.com", subject: "Welcome", text: "Hello" });
  const page = mailPage(mailer);
  const get = async (path: string, init?: RequestInit) => {
    const response = (await page(new Request(`http://localhost${path}`, init)))!;
    return { response, text: await response.text() };
  };
  return { page, get };
}

Deno.test("the list shows every message, the newest first, and a search finds by subject, address and text", async () => {
  const { get } = await setup();
  const { text } = await get("/mail");
  assert(text.indexOf("Welcome") < text.indexOf("Order 17") && text.includes("2 of 2"));
  for (
    const [query, count] of [["order", 1], ["JOHN@", 1], ["thank you", 1], ["nothing", 0], [
      "log@",
      1,
    ]] as const
  ) {
    const found = (await get(`/mail?q=${encodeURIComponent(query)}`)).text;
    assert(found.includes(`${count} of 2`), query);
  }
});

Deno.test("a message shows its text, headers, envelope, files and source; its HTML stands in a frame without rights", async () => {
  const { get } = await setup();
  const { text } = await get("/mail/0");
  for (
    const part of ["X-Order: 17", "log@example.com", "logo.png", 'href="/mail/0/source"', "<iframe sandbox "]
  ) {
    assert(text.includes(part), part);
  }
  const frame = await get("/mail/0/html");
  assertEquals(frame.text, `<p>Thank you<img src="data:image/png;base64,cG5n"><script>alert(1)</script></p>`);
  const policy = frame.response.headers.get("content-security-policy")!;
  assert(policy.includes("default-src 'none'") && policy.endsWith("sandbox"), policy);
  const source = await get("/mail/0/source");
  assertEquals(source.response.headers.get("content-type"), "text/plain; charset=utf-8");
  assert(source.text.includes("multipart/mixed") && !source.text.includes("log@example.com"));
  const file = await get("/mail/0/files/1");
  assertEquals(file.response.headers.get("content-type"), "application/octet-stream");
  assert(file.response.headers.get("content-disposition")!.startsWith("attachment;"));
  assertEquals(file.response.headers.get("x-content-type-options"), "nosniff");
});

Deno.test("no part of a message becomes markup of the page, which has no script", async () => {
  const { get } = await setup();
  for (const path of ["/mail", "/mail/0", `/mail?q=${encodeURIComponent(hostile)}`]) {
    const { response, text } = await get(path);
    assert(!/<script/i.test(text), path);
    assert(response.headers.get("content-security-policy")!.startsWith("default-src 'none'"), path);
  }
});

Deno.test("other paths are passed on, and a missing message is a 404", async () => {
  const { page, get } = await setup();
  assertEquals(page(new Request("http://localhost/mailbox")), undefined);
  for (const path of ["/mail/7", "/mail/x", "/mail/0/other", "/mail/0/files/9", "/mail/-1"]) {
    assertEquals((await get(path)).response.status, 404, path);
  }
  assertEquals((await get("/mail", { method: "POST" })).response.status, 405);
});
