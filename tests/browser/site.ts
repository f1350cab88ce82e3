/**
 * Builds the documentation's site and looks at it in a real Chromium: `deno task test:site`. No link of its pages is broken, the
 * search finds, the reference is there, and axe finds nothing. Leaves screenshots in `.cache/`.
 */
// deno-lint-ignore-file no-console
import type { Page } from "playwright-core";
import { assert, assertEquals } from "../support/assert.ts";
import { buildSite } from "../docs/build_site.ts";
import { assertAccessible, launchChromium } from "./chromium.ts";

const cache = new URL("../../.cache/", import.meta.url).pathname;
const folder = Deno.args.includes("--built") ? `${cache}site/dist/` : await buildSite();

const TYPES: Readonly<Record<string, string>> = {
  html: "text/html",
  js: "text/javascript",
  css: "text/css",
  svg: "image/svg+xml",
};
const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (request) => {
  const path = decodeURIComponent(new URL(request.url).pathname).replace(/\/$/, "/index.html");
  try {
    const type = TYPES[path.split(".").at(-1)!] ?? "application/octet-stream";
    return new Response(await Deno.readFile(folder + path), { headers: { "content-type": type } });
  } catch {
    return new Response("not found", { status: 404 });
  }
});
const url = `http://127.0.0.1:${server.addr.port}`;
const browser = await launchChromium();
let passed = 0, failed = 0;

/** The first words of all code and tables that are wider than their boxes, in a page. */
const CLIPPED =
  "[...document.querySelectorAll('main pre, main table')].filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.textContent.trim().slice(0, 40))";
try {
  await check("no link of a page leads nowhere", async () => assertEquals(await brokenLinks("/"), []));
  for (const colorScheme of ["light", "dark"] as const) {
    for (
      const path of [
        "/docs/",
        "/docs/start/workers.html",
        "/docs/locks.html",
        "/docs/engines/",
        "/docs/engines/upstash.html",
        "/docs/engines/hot-keys.html",
      ]
    ) {
      await check(`axe finds nothing on ${path}, ${colorScheme}`, async () => {
        const page = await open(path, colorScheme);
        const name = path.replace(".html", "/").replaceAll(/\W+/g, "-");
        await page.screenshot({ path: `${cache}site${name}${colorScheme}.png` });
        await assertAccessible(page);
        assertEquals(await page.evaluate(CLIPPED), [], "code and tables must fit");
        await page.context().close();
      });
    }
  }
  await check("a phone shows code, and no page scrolls sideways", async () => {
    for (const path of ["/docs/", "/docs/start/workers.html", "/docs/locks.html", "/docs/engines/"]) {
      const page = await open(path, "light", { width: 360, height: 740 });
      await page.screenshot({
        path: `${cache}site${path.replace(".html", "/").replaceAll(/\W+/g, "-")}phone.png`,
      });
      const [wide, clipped] = await page.evaluate<[number, string[]]>(
        `[document.documentElement.scrollWidth, ${CLIPPED.replace(", main table", "")}]`,
      );
      assertEquals([path, wide, clipped], [path, 360, []]);
      await page.context().close();
    }
  });
  await check("the search finds a guide by a word of its text", async () => {
    const page = await open("/docs/", "light");
    await page.keyboard.press("Control+k");
    await page.fill("input[type=search]", "fencing token");
    await page.locator(".VPLocalSearchBox .result").first().waitFor();
    const results = await page.locator(".VPLocalSearchBox .result").allTextContents();
    assert(results.some((text) => /Locks/.test(text)), results.join("|"));
    await page.context().close();
  });
  await check("the reference has every subpath", async () => {
    const { exports } = JSON.parse(await Deno.readTextFile(new URL("../../deno.json", import.meta.url)));
    const missing: string[] = [];
    for (const subpath of Object.keys(exports)) {
      const response = await fetch(new URL(`api/${subpath.slice(2)}/index.html`.replace("//", "/"), url));
      await response.body?.cancel();
      if (!response.ok) missing.push(subpath);
    }
    assertEquals(missing, []);
  });
  await check("every exported symbol is in the reference", async () => {
    const pinned = await Deno.readTextFile(new URL("../house/exports.txt", import.meta.url));
    const names = Array.from(pinned.matchAll(/^ {2}(\w+)$/gm), ([, name]) => name!);
    const symbols = await (await fetch(`${url}/api/all_symbols.html`)).text();
    assert(names.length > 300, `${names.length} names`);
    assertEquals(names.filter((name) => !new RegExp(`\\b${name}\\b`).test(symbols)), []);
  });
} finally {
  await browser.close();
  await server.shutdown();
}
console.log(`${passed} passed, ${failed} failed`);
Deno.exit(failed === 0 && passed > 0 ? 0 : 1);

async function open(
  path: string,
  colorScheme: "light" | "dark",
  viewport = { width: 1280, height: 900 },
): Promise<Page> {
  const page = await (await browser.newContext({ colorScheme, viewport })).newPage();
  page.setDefaultTimeout(15_000);
  await page.goto(url + path);
  await page.locator("main").waitFor();
  return page;
}

/** Follows the links of pages from `start` on, within the site; pages of the reference are asked for and not followed. */
async function brokenLinks(start: string): Promise<string[]> {
  const [seen, waiting, broken] = [new Set([start]), [start], [] as string[]];
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    const response = await fetch(url + path);
    const html = await response.text();
    if (!response.ok) broken.push(path);
    if (!response.ok || path.startsWith("/api/")) continue;
    const content = /<main[\s\S]*<\/main>/.exec(html)?.[0] ?? html;
    for (const [, href] of content.matchAll(/<a [^>]*href="([^"#]+)/g)) {
      const target = new URL(href!, url + path);
      if (target.origin !== url || seen.has(target.pathname)) continue;
      seen.add(target.pathname);
      waiting.push(target.pathname);
    }
  }
  assert(seen.size > 25, `only ${seen.size} pages were reached`);
  return broken;
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
