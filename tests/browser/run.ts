/**
 * Drives the shop in a real Chromium, and plants cookies from a sibling host: `deno task test:browser`, or
 * with `--planted` the latter alone. Takes the browser from CHROMIUM or /usr/bin/chromium; as root on Debian
 * it installs one. Leaves screenshots in `.cache/`.
 */
// deno-lint-ignore-file no-console
import type { Browser, Page } from "playwright-core";
import { assert, assertEquals, assertMatch } from "../support/assert.ts";
import { RUNTIMES } from "../support/runtimes.ts";
import { assertAccessible, launchChromium } from "./chromium.ts";
import { plantedCookie, RESOLVER_RULES } from "./planted_cookie.ts";

const root = new URL("../../", import.meta.url).pathname;
let passed = 0, failed = 0;

/** The first words of everything that is wider than its box, in the page. */
const CLIPPED =
  "[...document.querySelectorAll('pre, .scroll')].filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.textContent.trim().slice(0, 40))";

await Deno.mkdir(`${root}.cache`, { recursive: true });
const server = new Deno.Command(Deno.execPath(), {
  args: [
    "run",
    "--allow-net",
    "--allow-read",
    "--allow-env=PORT",
    `${root}examples/shop/main.ts`,
    "--store=memory",
  ],
  env: { PORT: "0", NO_COLOR: "1" },
  stdout: "piped",
}).spawn();
try {
  const url = await address(server.stdout);
  const browser = await launchChromium(RESOLVER_RULES);
  try {
    if (!Deno.args.includes("--planted")) await drive(browser, url);
    for (const runtime of RUNTIMES) {
      await check(
        `a session cookie that a sibling host planted does not count on ${runtime}`,
        () => plantedCookie(runtime, () => browser.newContext()),
      );
    }
  } finally {
    await browser.close();
  }
} finally {
  server.kill("SIGTERM");
  await server.status;
}
console.log(`${passed} passed, ${failed} failed`);
Deno.exit(failed === 0 && passed > 0 ? 0 : 1);

async function drive(browser: Browser, url: string): Promise<void> {
  const page = await (await browser.newContext({ viewport: { width: 1280, height: 900 } })).newPage();
  page.setDefaultTimeout(15_000);
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(error.message));
  page.on("dialog", (dialog) => {
    complaints.push(dialog.message());
    dialog.dismiss();
  });

  await check("the cart survives a reload, and quick presses lose nothing", async () => {
    await page.goto(url);
    await says(page, "#me", /Nobody is logged in/);
    await page.evaluate(
      "for (const id of ['rope', 'anchor', 'lantern']) document.getElementById('add-' + id).click()",
    );
    await says(page, "#cart", /3 in the cart/);
    await page.reload();
    await says(page, "#cart", /3 in the cart/);
  });
  await check("logging in shows the session, and the cart comes along", async () => {
    await page.fill("#user", "<b>ada</b>");
    await page.press("#user", "Enter");
    await says(page, "#me", /Logged in as <b>ada<\/b>/);
    assertEquals(await page.locator("#sessions li").count(), 1);
    await says(page, "#cart", /3 in the cart/);
    assertEquals(await page.evaluate("document.activeElement.id"), "user");
  });
  await check("five payments are one charge and four replays", async () => {
    await page.click("#pay");
    await says(page, "#pay-sum", /^1 charge, 4 replays: \D*376\.00/);
    assertEquals(await page.locator("#pay-rows tbody tr").count(), 5);
    await says(page, "#cart", /Your cart is empty/);
  });
  await check(
    "the order is confirmed once, when the worker ran, and Pay pressed again is another order",
    async () => {
      await says(page, "#mail-sum", /^1 in the outbox, 0 sent/);
      await page.click("#drain");
      await says(page, "#mail-sum", /^0 in the outbox, 1 sent/);
      await page.click("#drain");
      await page.click("#pay");
      await says(page, "#mail-sum", /^1 in the outbox, 1 sent/);
      assertEquals(await page.locator("#mail-rows tbody td:nth-child(2)").allTextContents(), [
        "queued",
        "sent",
      ]);
    },
  );
  await check("a flood turns into 429s with Retry-After", async () => {
    await page.click("#flood");
    await says(page, "#flood-sum", /5 admitted, \d+ turned away/);
    const last = await page.locator("#flood-rows tbody tr").last().locator("td").allTextContents();
    assertEquals(last[0], "429");
    assertMatch(last[1]!, /^"flood";r=0/);
    assertMatch(last[2]!, /^[1-9]\d*$/);
  });
  await check("ten workers take turns, with rising fencing tokens", async () => {
    await page.click("#race");
    await says(page, "#race-sum", /Ten turns/);
    const tokens = (await page.locator("#race-rows tbody tr td:nth-child(2)").allTextContents()).map(Number);
    assertEquals(tokens.length, 10);
    assert(tokens.every((token, i) => i === 0 || token > tokens[i - 1]!), `tokens must rise: ${tokens}`);
  });
  await check(
    "each card shows the request it sent, the answer's status and headers, and the source",
    async () => {
      await page.click("#stampede");
      await says(page, "#stampede-sum", /50 requests, fills: 1/);
      const shown: Record<string, [RegExp, RegExp, RegExp]> = {
        cart: [
          /^GET \/api\/cart/,
          /^200 OK\ncontent-type: application\/json/,
          /c\.var\.session\.set\("cart", cart\)/,
        ],
        account: [/^POST \/api\/login\//, /^200 OK/, /sessions\.revokeUser\(user\)/],
        pay: [
          /^POST \/api\/pay\nIdempotency-Key: "/,
          /^201 Created\n[^]*idempotency-replayed: true/,
          /idempotency\(\{ store, scope/,
        ],
        mail: [/^POST \/api\/outbox\/drain/, /"sent":0/, /idempotencyKey: `order-/],
        flood: [
          /^GET \/api\/flood\n\n\(sent 9 times/,
          /^429 Too Many Requests\n[^]*retry-after: /,
          /throttle\(\{ store, name: "flood"/,
        ],
        race: [/^POST \/api\/race/, /"fencingToken":/, /locks\.withLock\("race"/],
        stampede: [/^GET \/api\/products/, /^200 OK/, /tags: \["catalogue"\]/],
      };
      for (const [card, [request, answer, source]] of Object.entries(shown)) {
        assertMatch(await page.textContent(`#${card}-request`) ?? "", request);
        assertMatch(await page.textContent(`#${card}-answer`) ?? "", answer);
        assertMatch(await page.textContent(`#${card}-card pre code`) ?? "", source);
      }
    },
  );
  await check("no code, answer or table of a card is cut off", async () => {
    assertEquals(await page.evaluate(CLIPPED), []);
  });
  await page.screenshot({ path: `${root}.cache/shop.png`, fullPage: true });
  await accessible(page, "light");
  await page.emulateMedia({ colorScheme: "dark" });
  await page.screenshot({ path: `${root}.cache/shop-dark.png`, fullPage: true });
  await accessible(page, "dark");
  await page.emulateMedia({ colorScheme: "light" });

  await check("the Pay button is reached and pressed by keyboard alone", async () => {
    await page.reload();
    await says(page, "#me", /Logged in/);
    const focused = () => page.evaluate("document.activeElement.id");
    for (let i = 0; i < 30 && await focused() !== "pay"; i++) await page.keyboard.press("Tab");
    assertEquals(await focused(), "pay");
    assert(await page.evaluate("document.activeElement.matches(':focus-visible')"), "focus must be visible");
    await page.keyboard.press("Enter");
    await says(page, "#pay-sum", /1 charge, 4 replays/);
    assertEquals(await focused(), "pay");
  });
  await check("a store that is away is explained on its cards, and all is well when it is back", async () => {
    await page.click("#unplug");
    await says(page, "#unplug-text", /The store is away/);
    await page.click("#pay");
    await says(page, "#pay-fault", /^The store is away \(503\)/);
    await page.click("#add-rope");
    await says(page, "#cart-fault", /^The store is away \(503\)/);
    await page.click("#flood");
    await says(page, "#flood-sum", /9 admitted, 0 turned away: without a store/);
    await page.click("#race");
    await says(page, "#race-fault", /^The store is away \(503\)/);
    await page.screenshot({ path: `${root}.cache/shop-store-down.png`, fullPage: true });
    await accessible(page, "store down");
    await page.click("#unplug");
    await says(page, "#me", /Logged in/);
    await page.click("#pay");
    await says(page, "#pay-sum", /1 charge, 4 replays/);
    assertEquals(await page.locator(".fault:visible").count(), 1, "the race has not been started again");
    await page.reload();
  });
  await check("logging out everywhere ends the session of a second browser", async () => {
    const other = await (await browser.newContext()).newPage();
    await other.goto(url);
    await other.fill("#user", "<b>ada</b>");
    await other.press("#user", "Enter");
    await says(other, "#me", /sessions: 2/);
    await other.click("#everywhere");
    await says(other, "#me", /Nobody is logged in/);
    await page.reload();
    await says(page, "#me", /Nobody is logged in/);
    await other.context().close();
  });
  await check("a phone shows it all without scrolling sideways", async () => {
    const phone = await (await browser.newContext({ viewport: { width: 360, height: 740 }, hasTouch: true }))
      .newPage();
    await phone.goto(url);
    await phone.tap("#add-lantern");
    await says(phone, "#cart", /1 in the cart/);
    for (const id of ["pay", "flood", "race"]) {
      await phone.tap(`#${id}`);
      await phone.waitForSelector(`#${id}-rows:not([hidden])`);
    }
    const [wide, narrow] = await phone.evaluate<[number, number]>(
      "[document.documentElement.scrollWidth, innerWidth]",
    );
    assert(wide <= narrow, `the page is ${wide} px wide on ${narrow}`);
    for (const summary of await phone.locator("summary").all()) await summary.tap();
    assertEquals(await phone.evaluate(CLIPPED), [], "all must fit");
    for (const summary of await phone.locator("summary").all()) await summary.tap();
    const small = await phone.evaluate<string[]>(
      "[...document.querySelectorAll('button, input, summary')].filter((e) => e.getBoundingClientRect().height < 44).map((e) => e.id)",
    );
    assertEquals(small, [], "what fingers press must be 44 px high");
    await phone.screenshot({ path: `${root}.cache/shop-phone.png`, fullPage: true });
    await accessible(phone, "phone");
    await phone.context().close();
  });
  await check("the page complained about nothing", () => {
    assertEquals(complaints, []);
    return Promise.resolve();
  });
}

async function check(name: string, run: () => Promise<void>): Promise<void> {
  try {
    await run();
    passed++;
    console.log(`ok      ${name}`);
  } catch (error) {
    failed++;
    console.log(`FAILED  ${name}\n        ${error instanceof Error ? error.message : error}`);
  }
}

function accessible(page: Page, state: string): Promise<void> {
  return check(`axe finds nothing on the shop: ${state}`, () => assertAccessible(page));
}

/** Waits until an element says it. */
async function says(page: Page, selector: string, text: RegExp): Promise<void> {
  try {
    await page.locator(selector).filter({ hasText: text }).waitFor();
  } catch {
    throw new Error(`${selector} says ${JSON.stringify(await page.textContent(selector))}, not ${text}`);
  }
}

/** The shop's URL, as it prints it. */
async function address(stdout: ReadableStream<Uint8Array>): Promise<string> {
  const reader = stdout.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = "";;) {
    const { done, value } = await reader.read();
    if (done) throw new Error(`the shop did not open: ${text}`);
    text += value;
    const url = /http:\/\/localhost:\d+/.exec(text)?.[0];
    if (url !== undefined) {
      reader.cancel();
      return url;
    }
  }
}
