/** A registry that has one package, ours as it was built, so that `npm install @holdfast/edge` is what a user types. */
import type { NpmPackage } from "./build_npm.ts";

/** The running registry. */
export interface Registry extends AsyncDisposable {
  /** The line of an `.npmrc` that sends npm, Bun and Deno here for our scope, and to their own registry for the rest. */
  readonly npmrc: string;
}

/** Serves the package on a free port. */
export async function startRegistry({ manifest, tarball }: NpmPackage): Promise<Registry> {
  const bytes = await Deno.readFile(tarball);
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-512", bytes));
  const integrity = `sha512-${btoa(String.fromCharCode(...digest))}`;
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
    const { origin, pathname } = new URL(request.url);
    if (pathname === "/edge.tgz") return new Response(bytes);
    if (decodeURIComponent(pathname) !== `/${manifest.name}`) return new Response("{}", { status: 404 });
    const { version } = manifest;
    return Response.json({
      name: manifest.name,
      "dist-tags": { latest: version },
      versions: { [version]: { ...manifest, dist: { tarball: `${origin}/edge.tgz`, integrity } } },
    });
  });
  const scope = manifest.name.split("/")[0];
  return {
    npmrc: `${scope}:registry=http://127.0.0.1:${server.addr.port}/\n`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}
