/** One-click unsubscription: the links, and who may follow them. */
import { memoryMailer, oneClick } from "@holdfast/edge/mail";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";

const url = "https://example.com/leave";
const secret = "a secret of at least 32 characters";

function setup() {
  const gone: string[] = [];
  const leave = oneClick({
    url,
    secret,
    unsubscribe: (address, list) => void gone.push(`${address} ${list}`),
  });
  const post = (link: string, body: BodyInit = new URLSearchParams({ "List-Unsubscribe": "One-Click" })) =>
    leave.handle(new Request(link, { method: "POST", body }));
  return { gone, leave, post };
}

Deno.test("the link of a message unsubscribes by POST, as RFC 8058 has it, in both forms of a body", async () => {
  const { gone, leave, post } = setup();
  const link = await leave.link("Jane <jane@example.com>", "news & more");
  const mailer = memoryMailer();
  await mailer.send({
    from: "shop@example.com",
    to: "jane@example.com",
    subject: "Hello",
    text: "Hello",
    unsubscribe: { url: link },
  });
  const { headers } = mailer.outbox[0]!.message;
  const found = /<(https:[^>]+)>/.exec(headers["List-Unsubscribe"]!)![1]!;
  assertEquals(headers["List-Unsubscribe-Post"], "List-Unsubscribe=One-Click");
  assertEquals((await post(found)).status, 200);
  const form = new FormData();
  form.set("List-Unsubscribe", "One-Click");
  assertEquals((await post(found, form)).status, 200);
  assertEquals(gone, ["jane@example.com news & more", "jane@example.com news & more"]);
});

Deno.test("a GET does not unsubscribe: it shows a page with a button, without the address", async () => {
  const { gone, leave } = setup();
  const response = await leave.handle(new Request(await leave.link("jane@example.com")));
  const page = await response.text();
  assert(page.includes('method="post"') && page.includes('value="One-Click"') && !page.includes("jane"));
  assertEquals([gone.length, response.headers.get("cache-control")], [0, "no-store"]);
});

Deno.test("a link that was changed, and a request that is no unsubscription, change nothing", async () => {
  const { gone, leave, post } = setup();
  const link = await leave.link("jane@example.com", "news");
  const other = (name: string, value: string) => {
    const changed = new URL(link);
    changed.searchParams.set(name, value);
    return changed.href;
  };
  const links = [
    other("a", "john@example.com"),
    other("l", "other"),
    other("s", "AAAA"),
    other("s", "%%"),
    url,
  ];
  for (const one of links) assertEquals((await post(one)).status, 403, one);
  // Fields cannot be moved into each other.
  const odd = await leave.link("jane@example.com", "");
  assertEquals((await post(odd.replace("&l=", "&l=x"))).status, 403);
  assertEquals((await post(link, "List-Unsubscribe=One-Click")).status, 400);
  assertEquals((await post(link, new URLSearchParams({ "List-Unsubscribe": "no" }))).status, 400);
  assertEquals((await post(link, new URLSearchParams({ x: "y".repeat(10_000) }))).status, 400);
  // Without a length, no more is read than a form may have.
  let pulled = 0;
  const endless = new ReadableStream<Uint8Array>({
    pull: (controller) => controller.enqueue(new TextEncoder().encode(`x=${"y".repeat(1000)}&${pulled++}`)),
  });
  const headers = { "content-type": "application/x-www-form-urlencoded" };
  const stream = new Request(link, { method: "POST", body: endless, headers, duplex: "half" } as RequestInit);
  assertEquals([(await leave.handle(stream)).status, pulled < 20], [400, true]);
  assertEquals((await leave.handle(new Request(link, { method: "DELETE" }))).status, 405);
  const stranger = oneClick({ url, secret: secret.toUpperCase(), unsubscribe: () => {} });
  assertEquals((await post(await stranger.link("jane@example.com", "news"))).status, 403);
  assertEquals(gone, []);
});

Deno.test("links need an https address, a long secret and an address", async () => {
  const unsubscribe = () => {};
  assertThrows(() => oneClick({ url: "http://example.com", secret, unsubscribe }), TypeError);
  assertThrows(() => oneClick({ url: "https://example.com?a=1", secret, unsubscribe }), TypeError);
  assertThrows(() => oneClick({ url, secret: "short", unsubscribe }), TypeError);
  assertThrows(() => oneClick({ url, secret } as never), TypeError);
  await assertRejects(() => setup().leave.link("nobody"), TypeError);
});
