import { requestFingerprint } from "../../src/http/request_fingerprint.ts";
import { sha256 } from "../../src/sha256.ts";
import { assertEquals } from "../support/assert.ts";

/** The fingerprint by the letter: every URL parsed. */
function reference(address: string, body: Uint8Array): string {
  const url = new URL(address);
  url.searchParams.sort();
  const head = ["POST", url.host, url.pathname, url.searchParams, "text/plain", "", ""].join("\n");
  return sha256(new Uint8Array([...new TextEncoder().encode(head), ...body]));
}

const ADDRESSES = [
  "https://shop.example/charges",
  "https://shop.example/charges/17",
  "https://shop.example/charges/17?b=2&a=1",
  "https://shop.example/charges/17?a=1&b=2",
  "https://shop.example/",
  "https://shop.example//charges",
  "https://shop.example/a/../charges",
  "https://shop.example/./charges",
  "https://shop.example/charg%65s",
  "https://shop.example/caf\u00e9",
  "https://shop.example:8443/charges",
  "https://shop.example:443/charges",
  "https://SHOP.example/charges",
  "http://shop.example/charges",
  "http://[::1]:8000/charges",
  "https://shop.example/charges#top",
  "https://shop.example?x=/charges",
];

Deno.test("a fingerprint is the same whichever address was asked for before", async () => {
  const body = new TextEncoder().encode("4200 EUR");
  const of = (address: string) => {
    // As a runtime may hand it over: the text of `url` is the address itself.
    const request = new Request("https://shop.example/", {
      method: "POST",
      headers: { "content-type": "text/plain" },
    });
    Object.defineProperty(request, "url", { value: address });
    return requestFingerprint(request, body);
  };
  for (const before of ADDRESSES) {
    for (const address of ADDRESSES) {
      await of(before);
      assertEquals(await of(address), reference(address, body), `${address} after ${before}`);
    }
  }
});
