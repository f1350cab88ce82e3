/** The documentation's own promises: no broken link, no block that nothing checks, every page listed, `llms.txt` current. */
import { assert, assertEquals } from "../support/assert.ts";
import { llmsText } from "./llms_text.ts";
import { brokenLinks, markdownFiles } from "./links.ts";

const root = new URL("../../", import.meta.url);
const read = (path: string) => Deno.readTextFile(new URL(path, root));

Deno.test("no link of a Markdown page is broken, nor an anchor", async () => {
  const pages = await markdownFiles(root);
  assert(pages.length > 25, `${pages.length} pages`);
  assertEquals(await brokenLinks(root, pages), []);
});

Deno.test("what a user must set up is said where it is looked for", async () => {
  const needs: readonly [page: string, words: readonly RegExp[]][] = [
    ["README.md", [/npm install @holdfast\/edge/, /jsr:@holdfast\/edge/, /deno task start/]],
    ["docs/engines/deno-kv.md", [/--unstable-kv/]],
    ["docs/engines/durable-objects.md", [/compatibility_date/, /new_sqlite_classes/]],
    ["docs/engines/redis.md", [/eviction|noeviction/, /Cluster/]],
    ["docs/engines/upstash.md", [/eviction/]],
    ["docs/throttles.md", [/trustedProxies/]],
    ["docs/http.md", [/trustedProxies/]],
  ];
  for (const [page, words] of needs) {
    const text = await read(page);
    for (const word of words) assert(word.test(text), `${page} must say ${word}`);
  }
});

Deno.test("a broken link, a missing anchor and a link out of the repository are found", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(
      `${folder}/a.md`,
      "# A page\n[b](b.md) [c](c.md) [x](b.md#no) [y](b.md#a-title) [out](../d.md)\n```md\n[z](z.md)\n```\n",
    );
    await Deno.writeTextFile(`${folder}/b.md`, "# A title\n");
    const at = new URL(`file://${folder}/`);
    assertEquals(await brokenLinks(at, ["a.md", "b.md"]), ["a.md: c.md", "a.md: b.md#no", "a.md: ../d.md"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("every page stands in docs/README.md", async () => {
  const index = await read("docs/README.md");
  const pages = (await markdownFiles(root)).filter((page) => /^docs\/(?!README)/.test(page));
  assertEquals(pages.filter((page) => !index.includes(`(./${page.slice("docs/".length)})`)), []);
});

Deno.test("the README has fewer than 200 lines, and its first screen an example, both commands and the links", async () => {
  const lines = (await read("README.md")).split("\n");
  assert(lines.length < 200, `${lines.length} lines`);
  const first = lines.slice(0, 62).join("\n");
  for (
    const what of [
      "npm install @holdfast/edge",
      "```ts",
      "deno task start",
      "deno task test",
      "docs/start/workers.md",
    ]
  ) {
    assert(first.includes(what), `${what} is not on the first screen`);
  }
});

Deno.test("the versions in docs/compared-with.md are those that this repository has installed", async () => {
  const { specifiers } = JSON.parse(await read("deno.lock"));
  const installed = new Map<string, string>();
  for (const [specifier, resolved] of Object.entries<string>(specifiers)) {
    const name = /^npm:(@?[^@]+)/.exec(specifier)![1]!;
    installed.set(name, resolved.split("_")[0]!);
  }
  const names: Readonly<Record<string, string>> = { Upyo: "@upyo/core", cachified: "@epic-web/cachified" };
  const heads = (await read("docs/compared-with.md")).split("\n").filter((line) =>
    /^\| +\| Holdfast/.test(line)
  );
  let compared = 0;
  for (const [, name, version] of heads.join("|").matchAll(/\| (\S+) (\d[\w.-]*) (?=\s*\|)/g)) {
    const found = installed.get(names[name!] ?? name!);
    if (found === undefined) continue; // read, not run
    assert(`${found}.`.startsWith(`${version}.`), `${name} ${version} is ${found} here`);
    compared++;
  }
  assert(compared >= 10, `${compared} versions`);
});

Deno.test("docs/llms.txt is what its sources make it: deno run -A tests/docs/llms_text.ts writes it", async () => {
  assertEquals(await read("docs/llms.txt"), await llmsText(root));
});

Deno.test("every block of code that deno test --doc leaves out is type-checked here, or followed by a test", async () => {
  // Followed literally: the Start pages by tests/packages/start_pages.ts, the contract by tests/compile.
  const followed = /^docs\/(start\/|writing-a-contract\.md)/;
  const pages = (await markdownFiles(root)).filter((page) => !followed.test(page));
  const folder = new URL(`.cache/docs_blocks_${crypto.randomUUID()}/`, root);
  await Deno.mkdir(folder, { recursive: true });
  try {
    let count = 0;
    for (const page of pages) {
      for (const [, code] of (await read(page)).matchAll(/^```ts ignore[^\n]*\n([\s\S]*?)^```$/gm)) {
        const name = `${page.replaceAll(/[^\w]/g, "_")}_${count++}.ts`;
        await Deno.writeTextFile(new URL(name, folder), withAmbient(code!));
      }
    }
    assert(count > 5, `${count} blocks`);
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["check", "--quiet", folder.pathname],
      cwd: root,
      env: { NO_COLOR: "1" },
    }).output();
    assert(success, new TextDecoder().decode(stderr));
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/** Names that a reader has and a block does not declare: bindings, clients, an address. */
const AMBIENT: Readonly<Record<string, string>> = {
  env:
    `declare const env: { HOLDFAST: import("@holdfast/edge/durable-objects").HoldfastNamespace; CACHE: import("@holdfast/edge/workers-kv").KvNamespace; DB: import("@holdfast/edge/sqlite").D1Binding };`,
  Env:
    `interface Env { HOLDFAST: import("@holdfast/edge/durable-objects").HoldfastNamespace; CACHE: import("@holdfast/edge/workers-kv").KvNamespace; DB: import("@holdfast/edge/sqlite").D1Binding }`,
  connectionString: "declare const connectionString: string;",
  url: "declare const url: string;",
  token: "declare const token: string;",
  charge: "declare const charge: () => Promise<{ charged: number }>;",
  mailer: `declare const mailer: import("@holdfast/edge/mail").Mailer;`,
  confirmation: `declare const confirmation: import("@holdfast/edge/mail").Message;`,
  sql: `declare const sql: import("postgres").Sql;`,
  server: "declare const server: Deno.HttpServer;",
};

/** The block with declarations of the names that it uses and neither imports nor declares. */
function withAmbient(code: string): string {
  const lines = Object.entries(AMBIENT).filter(([name]) => {
    const used = new RegExp(`(?<![.\\w"'])${name}\\b(?!["'\\w]|\\s*:)`).test(code);
    const declared =
      new RegExp(`\\b(const|let|function|interface|class)\\s+\\{?[^=;]*\\b${name}\\b`).test(code) ||
      new RegExp(`import[^;]*\\b${name}\\b[^;]*from`).test(code);
    return used && !declared;
  });
  return [...lines.map(([, line]) => line), code, "export {};"].join("\n");
}
