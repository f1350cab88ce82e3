/**
 * Builds the documentation as a site with search, the API reference inside: `deno task docs`, into `.cache/site/dist`.
 *
 * The generator is VitePress, which is kept by the Vue team and reads our Markdown as it is; the reference is Deno's own
 * (`deno doc --html`). Both are installed and made apart from what the package and its tests need.
 */
// deno-lint-ignore-file no-console
import { run } from "../packages/build_npm.ts";
import { markdownFiles } from "./links.ts";

const root = new URL("../../", import.meta.url);
const site = new URL(".cache/site/", root);

const read = (path: string) => Deno.readTextFile(new URL(path, root));

/** Builds the site and returns its folder. */
export async function buildSite(): Promise<string> {
  const pages = new URL("pages/", site);
  await Deno.remove(pages, { recursive: true }).catch(() => {});
  await Deno.mkdir(new URL(".vitepress/", pages), { recursive: true });
  await Deno.mkdir(new URL("public/", pages));
  for (const page of await markdownFiles(root)) await copyPage(page, pages);
  await Deno.copyFile(new URL("docs/llms.txt", root), new URL("public/llms.txt", pages));
  await Deno.writeTextFile(new URL(".vitepress/config.mjs", pages), await configuration());
  await Deno.mkdir(new URL(".vitepress/theme/", pages));
  await Deno.writeTextFile(new URL(".vitepress/theme/style.css", pages), STYLE);
  await Deno.writeTextFile(new URL(".vitepress/theme/index.js", pages), THEME);
  await reference(new URL("public/api/", pages));

  await Deno.writeTextFile(new URL("package.json", site), '{ "private": true, "type": "module" }');
  await run("npm", ["install", "--no-audit", "--no-fund", "--prefer-offline", "vitepress@1"], site);
  await run("npx", ["vitepress", "build", "pages", "--outDir", "dist"], site);
  return new URL("dist/", site).pathname;
}

/**
 * Changes of the default theme. axe asks for more contrast and a button whose name is its text; code wraps, so that none is
 * hidden beyond the edge; a number and its unit stay on one line.
 */
const STYLE = `
:root { --vp-c-text-3: #5c5c66; --vp-c-text-2: #4c4c54; --vp-layout-max-width: 1600px; --vp-code-font-size: 0.84em; }
.dark { --vp-c-text-3: #a5a5ae; --vp-c-text-2: #b8b8c0; }
.vp-doc [class*="language-"] > span.lang { color: var(--vp-c-text-2); }
.vp-doc [class*="language-"] code { white-space: pre-wrap; overflow-wrap: anywhere; }
.vp-doc td[style*="right"] { white-space: nowrap; }
.DocSearch-Button-Keys { display: none !important; }
.VPDoc.has-aside .content-container { max-width: 880px !important; }
`;

const THEME = `import DefaultTheme from "vitepress/theme";
import "./style.css";
export default DefaultTheme;
`;

/** A folder's README is its index, and links to source files are text: the site has none. Its pictures come along. */
async function copyPage(page: string, pages: URL): Promise<void> {
  const source = await read(page);
  for (const [, picture] of source.matchAll(/!\[[^\]]*\]\(([^):]+\.svg)\)/g)) {
    const from = new URL(picture!, new URL(page, root));
    const to = new URL(from.href.slice(root.href.length), pages);
    await Deno.mkdir(new URL(".", to), { recursive: true });
    await Deno.copyFile(from, to);
  }
  const text = source
    .replaceAll(/\]\(([^)\s]*)README\.md/g, "]($1index.md")
    // Of links within the repository only those to pages and headings lead somewhere on the site.
    .replaceAll(/(?<!!)\[([^\]]+)\]\((?![a-z]+:|[#/])(?![^)]*\.md[)#])[^)\s]+\)/g, "$1");
  const target = new URL(page.replace(/README\.md$/, "index.md"), pages);
  await Deno.mkdir(new URL(".", target), { recursive: true });
  await Deno.writeTextFile(target, text);
}

/** The sidebar is the index of pages, so that a page stands in both or in neither. */
async function configuration(): Promise<string> {
  const groups = (await read("docs/README.md")).split(/^## /m).slice(1).map((group) => {
    const [title = ""] = group.split("\n");
    const items = Array.from(group.matchAll(/\[([^\]]+)\]\((\.[^)]+)\)/g), ([, text, link]) => {
      const path = new URL(link!, "file:///docs/").pathname;
      return { text, link: path.replace(/README\.md$/, "").replace(/\.md$/, "") };
    });
    return { text: title, items };
  });
  const config = {
    title: "Holdfast",
    description: "Storage, sessions, locks, idempotency, throttling, caching and email for edge apps",
    lang: "en",
    markdown: { theme: { light: "github-light-high-contrast", dark: "github-dark-high-contrast" } },
    // The reference is made by another tool, and is no page of the generator.
    ignoreDeadLinks: [/^\/api\//],
    themeConfig: {
      search: { provider: "local" },
      nav: [{ text: "Documentation", link: "/docs/" }, {
        text: "API",
        link: "/api/index.html",
        target: "_self",
      }],
      sidebar: groups,
      outline: [2, 3],
    },
  };
  return `export default ${
    JSON.stringify(config, (_, value) => value instanceof RegExp ? `RE:${value.source}` : value, 2)
      .replaceAll(/"RE:([^"]*)"/g, (_, source) => `new RegExp(${JSON.stringify(JSON.parse(`"${source}"`))})`)
  };\n`;
}

/** Every exported symbol with its documentation. */
async function reference(folder: URL): Promise<void> {
  const { exports } = JSON.parse(await read("deno.json"));
  const args = ["doc", "--html", "--name=@holdfast/edge", `--output=${folder.pathname}`];
  await run(Deno.execPath(), [...args, ...Object.values<string>(exports)], root);
}

if (import.meta.main) {
  const folder = await buildSite();
  console.log(`The site is in ${folder}: npx vitepress preview there, or any server of files`);
}
