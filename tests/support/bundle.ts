/** Bundles as a bundler of a user's own would: npm packages from node_modules, our package by its deno.json exports. */
import type { Metafile, Plugin } from "esbuild";

const root = new URL("../../", import.meta.url);

/** Options of {@linkcode bundle}. */
export interface BundleOptions {
  /** The module it starts from: a file, or */
  readonly entry?: string | URL;
  /** its source, which imports as a file at the repository's root would. */
  readonly script?: string;
  /** Whether to minify; what is measured is, what is run is not. */
  readonly minify?: boolean;
}

/** One ES module for a Worker. Whatever begins with `cloudflare:` stays an import; anything from `node:` is an error. */
export async function bundle(options: BundleOptions): Promise<{ code: string; metafile: Metafile }> {
  const { entry, script, minify = false } = options;
  const esbuild = await import("esbuild");
  try {
    const { outputFiles, metafile } = await esbuild.build({
      ...(script === undefined
        ? { entryPoints: [entry instanceof URL ? entry.pathname : entry!] }
        : { stdin: { contents: script, resolveDir: root.pathname, loader: "ts" } }),
      bundle: true,
      write: false,
      metafile: true,
      minify,
      format: "esm",
      target: "es2022",
      platform: "browser",
      conditions: ["workerd", "worker", "browser"],
      external: ["cloudflare:*"],
      absWorkingDir: root.pathname,
      plugins: [ourPackage],
      logLevel: "silent",
    });
    return { code: outputFiles[0]!.text, metafile };
  } finally {
    await esbuild.stop();
  }
}

/** `@holdfast/edge/x` is the file that deno.json exports as `./x`. */
const ourPackage: Plugin = {
  name: "our package",
  setup(build) {
    const { name, exports } = JSON.parse(Deno.readTextFileSync(new URL("deno.json", root)));
    build.onResolve({ filter: new RegExp(`^${name}(/|$)`) }, ({ path }) => {
      const target = exports["." + path.slice(name.length)];
      if (target === undefined) return { errors: [{ text: `deno.json exports no ${path}` }] };
      return { path: new URL(target, root).pathname };
    });
  },
};
