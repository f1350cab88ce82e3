import { sha256OfBoth } from "../sha256.ts";

/** The origin that was parsed last, and its host: a server is asked by few names. */
let lastOrigin = "";
let lastHost = "";

/**
 * Host, path and sorted query of a URL as texts. A path of plain characters is its own normal form: the URL
 * is not parsed again.
 */
function partsOf(address: string): readonly [host: string, path: string, query: string] {
  const [, origin, path] = /^([^/]+\/\/[^/?#]+)(\/[\w/-]*)$/.exec(address) ?? [];
  if (origin !== undefined && origin === lastOrigin) return [lastHost, path!, ""];
  const { host, pathname, search, searchParams } = new URL(address);
  if (search !== "") searchParams.sort(); // also of nothing it would write the whole URL anew
  if (origin !== undefined) {
    lastOrigin = origin;
    lastHost = host;
  }
  return [host, pathname, String(searchParams)];
}

/**
 * A hash of what makes two requests the same: method, host, path, sorted query, the kind and the coding of
 * the content, and its bytes. The scheme does not count, as a proxy may change it; neither do other header
 * fields.
 */
export async function requestFingerprint(request: Request, body: Uint8Array): Promise<string> {
  const address = partsOf(request.url);
  const kind = (request.headers.get("content-type") ?? "").split(";")[0]!.trim().toLowerCase();
  const coding = (request.headers.get("content-encoding") ?? "").toLowerCase();
  // None of these can hold a line feed, so no two lists of them are one text.
  const head = [request.method.toUpperCase(), ...address, kind, coding, ""].join("\n");
  return await sha256OfBoth(head, body);
}
