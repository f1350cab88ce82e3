import { concatBytes } from "../read_stream.ts";
import { sha256OfAny } from "../sha256.ts";

const encoder = /* @__PURE__ */ new TextEncoder();

/**
 * A hash of what makes two requests the same: method, host, path, sorted query, the kind and the coding of
 * the content, and its bytes. The scheme does not count, as a proxy may change it; neither do other header
 * fields.
 */
export async function requestFingerprint(request: Request, body: Uint8Array): Promise<string> {
  const url = new URL(request.url);
  if (url.search !== "") url.searchParams.sort(); // also of nothing it would write the whole URL anew
  const kind = (request.headers.get("content-type") ?? "").split(";")[0]!.trim().toLowerCase();
  const coding = (request.headers.get("content-encoding") ?? "").toLowerCase();
  // None of these can hold a line feed, so no two lists of them are one text.
  const head = [request.method.toUpperCase(), url.host, url.pathname, url.searchParams, kind, coding, ""]
    .join("\n");
  return await sha256OfAny(concatBytes([encoder.encode(head), body]));
}
