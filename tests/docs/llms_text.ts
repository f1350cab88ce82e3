/** Makes `docs/llms.txt` (https://llmstxt.org) of the index of pages: `deno run -A tests/docs/llms_text.ts` writes it. */

const root = new URL("../../", import.meta.url);

/** The text: the README's first sentence, then every page with what the index says of it, and the subpaths. */
export async function llmsText(root: URL): Promise<string> {
  const read = (path: string) => Deno.readTextFile(new URL(path, root));
  const [, summary = ""] = /^# Holdfast\n\n([\s\S]*?)\n\n/.exec(await read("README.md")) ?? [];
  const index = (await read("docs/README.md")).split("\n\n").slice(2).join("\n\n");
  const { name, exports } = JSON.parse(await read("deno.json"));
  const subpaths: string[] = [];
  for (const [subpath, file] of Object.entries<string>(exports)) {
    const [, first = ""] = /^\/\*\*\n \* ([\s\S]*?)\n \*(?:\n|\/)/.exec(await read(file)) ?? [];
    subpaths.push(`- ${name}${subpath.slice(1)}: ${first.replaceAll("\n * ", " ")}`);
  }
  return `# Holdfast

> ${summary.replaceAll("\n", " ")}

Import from \`${name}\` and its subpaths; there is no default export. Expected outcomes are values, faults are a \`HoldfastError\` with
a \`code\`. Durations are milliseconds or texts as "30s". Unknown options are refused.

${index.trimEnd()}

## Subpaths

${subpaths.join("\n")}
`;
}

if (import.meta.main) await Deno.writeTextFile(new URL("docs/llms.txt", root), await llmsText(root));
