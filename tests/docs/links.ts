/** Finds Markdown pages and their broken links. */

const SKIPPED = new Set(["node_modules", ".cache", ".git", "coverage", ".wrangler"]);

/** The paths of all Markdown pages below the folder, sorted. */
export async function markdownFiles(root: URL, folder = ""): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(new URL(folder || ".", root))) {
    if (SKIPPED.has(name)) continue;
    if (isDirectory) found.push(...await markdownFiles(root, `${folder}${name}/`));
    else if (name.endsWith(".md")) found.push(folder + name);
  }
  return found.sort();
}

/** The links of the pages that lead to no file of the repository, or to no heading of a page. */
export async function brokenLinks(root: URL, pages: readonly string[]): Promise<string[]> {
  const broken: string[] = [];
  for (const page of pages) {
    const text = withoutCode(await Deno.readTextFile(new URL(page, root)));
    for (const [, link] of text.matchAll(/\[[^\]]*\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(link!)) continue; // another site: no test asks the network
      if (!await leads(new URL(link!, new URL(page, root)), root)) broken.push(`${page}: ${link}`);
    }
  }
  return broken;
}

async function leads(target: URL, root: URL): Promise<boolean> {
  const anchor = target.hash.slice(1);
  target.hash = "";
  if (!target.href.startsWith(root.href)) return false;
  try {
    if (anchor === "") return Boolean(await Deno.stat(target));
    return anchorsOf(await Deno.readTextFile(target)).has(anchor);
  } catch {
    return false;
  }
}

/** The anchors that GitHub and the site give to headings, and those that a page writes itself. */
function anchorsOf(text: string): Set<string> {
  const headings = withoutCode(text).matchAll(/^#+ (.*)$/gm);
  const own = Array.from(text.matchAll(/<a id="([^"]+)">/g), ([, id]) => id!);
  return new Set([...Array.from(headings, ([, title]) => anchorOf(title!)), ...own]);
}

/** The anchor of a heading. */
export function anchorOf(title: string): string {
  return title.toLowerCase().replace(/[^\p{L}\p{N} _-]/gu, "").trim().replaceAll(" ", "-");
}

function withoutCode(text: string): string {
  return text.replaceAll(/^```[\s\S]*?^```$/gm, "").replaceAll(
    /`[^`\n]*`/g,
    (code) => code.replaceAll("](", "] ("),
  );
}
