/** Responses as sessions and the helpers of `src/http` make and change them. */

/**
 * A response whose headers can be changed. Those of a fetched response cannot, so it is copied; others are
 * used as they are, since Bun sets the content type of an original body alone.
 */
export function changeable(response: Response): Response {
  settleHeaders(response);
  try {
    response.headers.delete("x-holdfast-probe");
    return response;
  } catch {
    return new Response(response.body, response);
  }
}

/**
 * Makes the headers of a response the ones that a copy of it will have. The Response of `@hono/node-server`
 * makes its real one at the first look at its body, from what it was constructed with: fields that were set
 * before that are lost then.
 */
export function settleHeaders(response: Response): void {
  void response.bodyUsed;
}

/**
 * A response with a problem object (RFC 9457). No cache keeps it: it is about one request at one time.
 */
export function problemResponse(
  problem: { readonly status: number; readonly title: string; readonly [member: string]: unknown },
  headers?: Readonly<Record<string, string>>,
): Response {
  return new Response(JSON.stringify({ type: "about:blank", ...problem }), {
    status: problem.status,
    headers: { "content-type": "application/problem+json", "cache-control": "no-store", ...headers },
  });
}
