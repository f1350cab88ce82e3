/** The Chromium of the tests: from CHROMIUM or /usr/bin/chromium; as root on Debian it is installed. */
// deno-lint-ignore-file no-console
import { createRequire } from "node:module";
import { type Browser, chromium, type Page } from "playwright-core";
import { assertEquals } from "../support/assert.ts";

/** Starts it without a window. */
export async function launchChromium(...args: string[]): Promise<Browser> {
  return await chromium.launch({
    executablePath: await findChromium(),
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      ...args,
    ],
  });
}

/** Fails with each violation of axe's rules on the page: WCAG 2.2 AA and best practices. */
export async function assertAccessible(page: Page): Promise<void> {
  await page.addScriptTag({ path: createRequire(import.meta.url).resolve("axe-core/axe.min.js") });
  const violations = await page.evaluate<{ id: string; nodes: { html: string; failureSummary: string }[] }[]>(
    "axe.run().then(({ violations }) => violations)",
  );
  const found = violations.map(({ id, nodes }) => [
    id,
    nodes.map(({ html, failureSummary }) => [html, failureSummary]),
  ]);
  assertEquals(found, []);
}

async function findChromium(): Promise<string> {
  const path = Deno.env.get("CHROMIUM") ?? "/usr/bin/chromium";
  const there = () => Deno.stat(path).then(({ isFile }) => isFile, () => false);
  if (await there()) return path;
  if (!Deno.env.has("CHROMIUM") && Deno.build.os === "linux" && Deno.uid() === 0) {
    console.log("No Chromium here: installing Debian's");
    const install =
      "apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null";
    await new Deno.Command("sh", { args: ["-c", install], stdin: "null" }).spawn().status;
    if (await there()) return path;
  }
  console.error(
    `No Chromium at ${path}: install it (apt-get install chromium) or say where it is with CHROMIUM=`,
  );
  Deno.exit(1);
}
