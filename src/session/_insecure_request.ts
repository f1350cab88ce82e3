/**
 * Tells whether a browser sent the request over plain HTTP, where it drops Secure cookies. Browsers keep them
 * on the machine's own addresses. Behind a proxy that ends TLS a request looks the same, so only a browser's
 * own word is `certain`: the `Origin` of a form or a fetch on the very host that it was sent to.
 *
 * @see https://w3c.github.io/webappsec-secure-contexts/#is-origin-trustworthy
 */
export function insecureRequest({ url, headers }: Request): "certain" | "likely" | undefined {
  const { protocol, hostname, host } = new URL(url);
  if (protocol !== "http:" || /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\])$/.test(hostname)) {
    return undefined;
  }
  const forwarded = `${headers.get("x-forwarded-proto") ?? ""},${headers.get("forwarded") ?? ""}`;
  if (/\bhttps\b/i.test(forwarded)) return undefined;
  const origin = headers.get("origin");
  return origin === `http://${host}` ? "certain" : "likely";
}
