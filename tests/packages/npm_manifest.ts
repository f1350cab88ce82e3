/** The package.json of the npm package, made of deno.json. */

/** The fields of deno.json that the package takes. */
export interface DenoConfig {
  readonly name: string;
  readonly version: string;
  readonly license: string;
  readonly exports: Readonly<Record<string, string>>;
  readonly imports: Readonly<Record<string, string>>;
}

/** The parts of a package.json that are written. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly exports: Readonly<Record<string, { readonly types: string; readonly default: string } | string>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
  readonly [field: string]: unknown;
}

const DESCRIPTION =
  "Storage, sessions, locks, idempotency, throttling, caching and email for edge apps, on the databases they have";

const KEYWORDS = [
  "session",
  "lock",
  "idempotency",
  "rate-limit",
  "cache",
  "mail",
  "edge",
  "redis",
  "workers",
];

/**
 * The manifest for modules that import `packages`. A package that they import is a peer, and optional, as most users of other
 * subpaths have no use for it.
 */
export function npmManifest(
  config: DenoConfig,
  packages: readonly string[],
  repository: string | undefined,
): Manifest {
  const peers = [...new Set(packages.filter((name) => !name.startsWith("cloudflare:")).map(packageOf))];
  return {
    name: config.name,
    version: config.version,
    description: DESCRIPTION,
    keywords: KEYWORDS,
    license: config.license,
    // npm's provenance compares it with the repository that publishes.
    ...(repository !== undefined && {
      repository: { type: "git", url: `git+https://github.com/${repository}.git` },
      homepage: `https://github.com/${repository}#readme`,
      bugs: `https://github.com/${repository}/issues`,
    }),
    type: "module",
    sideEffects: false,
    engines: { node: ">=20.3" },
    exports: {
      ...Object.fromEntries(
        Object.entries(config.exports).map(([subpath, file]) => [subpath, entry(file)]),
      ),
      "./package.json": "./package.json",
    },
    peerDependencies: Object.fromEntries(peers.map((name) => [name, rangeOf(name, config.imports)])),
    peerDependenciesMeta: Object.fromEntries(peers.map((name) => [name, { optional: true }])),
  };
}

function entry(file: string): { types: string; default: string } {
  const stem = file.slice(0, -".ts".length);
  return { types: `${stem}.d.ts`, default: `${stem}.js` };
}

/** `hono` of `hono/cookie`, `@scope/name` of `@scope/name/part`. */
function packageOf(specifier: string): string {
  return specifier.split("/").slice(0, specifier.startsWith("@") ? 2 : 1).join("/");
}

/** `^4.13.19` of `npm:hono@^4.13.19`. */
function rangeOf(name: string, imports: Readonly<Record<string, string>>): string {
  const range = imports[name]?.match(/^npm:.+@([^@]+)$/)?.[1];
  if (range === undefined) throw new Error(`Cannot build as deno.json has no version of '${name}'`);
  return range;
}
