/**
 * Holds the layers apart (DESIGN, layers): `src/` imports only `src/`, `adapters/` only those two, nothing
 * imports the root's mod.ts.
 */
export default {
  name: "import-rules",
  rules: {
    layers: {
      create(context) {
        const path = context.filename.replaceAll("\\", "/");
        const layer = /^(?!.*\/examples\/).*\/(src|adapters)\/(?!.*\/(?:src|adapters)\/)/.exec(path)?.[1];
        const check = (node: { source: Deno.lint.StringLiteral | null; range: Deno.lint.Range }) => {
          const target = node.source?.value;
          if (typeof target !== "string") return;
          if (/(^|\/)\.\.\/mod\.ts$/.test(target) && !/(src|adapters)\//.test(target)) {
            const up = new URL(target, `file://${path}`).pathname;
            if (up === path.slice(0, path.lastIndexOf(`/${layer}/`)) + "/mod.ts") {
              return context.report({ node: node.source!, message: "Nothing imports the root's mod.ts" });
            }
          }
          if (layer === undefined) return;
          if (!target.startsWith(".")) {
            if (target === "cloudflare:workers" && path.endsWith("/adapters/durable_objects/object.ts")) {
              return;
            }
            // Types alone, for inference in a chain of Hono's.
            if (target === "hono" && path.endsWith("/adapters/hono/_hono_types.ts")) {
              if ((node as { importKind?: string }).importKind === "type") return;
            }
            return context.report({
              node: node.source!,
              message: `${layer}/ imports no package and no runtime module`,
            });
          }
          const file = new URL(target, `file://${path}`).pathname;
          const root = path.slice(0, path.lastIndexOf(`/${layer}/`));
          const inSrc = file.startsWith(`${root}/src/`);
          const inAdapters = file.startsWith(`${root}/adapters/`);
          if (!inSrc && !(layer === "adapters" && inAdapters)) {
            context.report({ node: node.source!, message: `${layer}/ must not import this file` });
          }
        };
        return { ImportDeclaration: check, ExportNamedDeclaration: check, ExportAllDeclaration: check };
      },
    },
  },
} satisfies Deno.lint.Plugin;
