/** A sibling host plants a session cookie under a name that a lax reader takes for `__Host-session`. */
import fc from "fast-check";
import { createSessions, memoryStore } from "@holdfast/edge";
import { createSealedSessions } from "@holdfast/edge/sessions";
import { cookieValues } from "../../src/cookie.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { BrowserCookies } from "./_browser_cookies.ts";

const SHOP = { host: "www.shop.test", path: "/me/orders", secure: true };
const EVIL = { host: "evil.shop.test", path: "/", secure: true };
const NAME = "__Host-session";

/** Characters that String.prototype.trim strips beside SP and HTAB, and browsers keep. */
const SPACES = [
  ..."\u000b\u000c\u00a0\u1680\u2000\u2001\u2007\u200a\u2028\u2029\u202f\u205f\u3000\ufeff\u0085\u200b",
];

/** The header as runtimes hand it on: decoded as UTF-8, or byte by byte. */
function decodings(header: string): string[] {
  const bytes = [...new TextEncoder().encode(header)].map((byte) => String.fromCharCode(byte)).join("");
  return [header, bytes];
}

for (
  const [kind, make] of Object.entries({
    stored: () => createSessions(memoryStore()),
    sealed: () => createSealedSessions({ keys: [{ id: "a", secret: "A".repeat(43) }] }),
  })
) {
  Deno.test(`planted cookie: ${kind}: no space that browsers keep turns another name into ours`, async () => {
    const sessions = make();
    const attacker = sessions.open(null);
    attacker.login("eve");
    const token = (await sessions.commit(attacker))!.split(";")[0]!.split("=")[1]!;
    const victim = sessions.open(null);
    victim.login("ada");
    const own = (await sessions.commit(victim))!;
    let sent = 0;
    for (const space of SPACES) {
      for (const name of [`${space}${NAME}`, `${NAME}${space}`, `${space} ${NAME}`, ` ${space}${NAME}`]) {
        const browser = new BrowserCookies();
        browser.receive(`${name}=${token}; Domain=shop.test; Path=/me; Secure`, EVIL);
        const alone = browser.header(SHOP);
        if (alone !== "") sent++;
        for (const header of decodings(alone)) {
          assertEquals(await sessions.open(header).userId(), undefined, JSON.stringify(header));
        }
        browser.receive(own, SHOP);
        for (const header of decodings(browser.header(SHOP))) {
          assertEquals(await sessions.open(header).userId(), "ada", JSON.stringify(header));
        }
      }
    }
    assert(sent > 20, "the browser does send such cookies");
  });
}

Deno.test("planted cookie: the value under a prefixed name is the one that the host set, among any cookies of a sibling", () => {
  const piece = fc.oneof(
    fc.constantFrom(
      ...SPACES,
      " ",
      "\t",
      "=",
      ";",
      ",",
      '"',
      "%20",
      "__Host-",
      "__host-",
      "__Secure-",
      "session",
      NAME,
      "x",
    ),
    fc.string({ unit: "binary", maxLength: 3 }),
  );
  const text = fc.array(piece, { maxLength: 6 }).map((pieces) => pieces.join(""));
  const attributes = fc.constantFrom(
    "; Domain=shop.test",
    "; Domain=shop.test; Path=/me",
    "; Domain=.shop.test; Path=/me/orders; Secure",
    "; Path=/; Secure",
    "; Domain=www.shop.test; Path=/; Secure",
  );
  const planted = fc.array(fc.tuple(text, text, attributes), { minLength: 1, maxLength: 5 });
  let kept = 0;
  fc.assert(
    fc.property(planted, fc.boolean(), fc.boolean(), (cookies, owns, secure) => {
      const browser = new BrowserCookies();
      if (owns) browser.receive(`${NAME}=own; Path=/; Secure`, SHOP);
      for (const [name, value, rest] of cookies) {
        browser.receive(`${name}=${value}${rest}`, { ...EVIL, secure });
        browser.receive(`${name}${NAME}=${value}${rest}`, { ...EVIL, secure });
      }
      kept += browser.sentTo(SHOP).length;
      for (const header of decodings(browser.header(SHOP))) {
        assertEquals(cookieValues(header, NAME), owns ? ["own"] : []);
      }
    }),
    { numRuns: 2_000 },
  );
  assert(kept > 2_000, "the browser kept and sent much of it");
});

Deno.test("planted cookie: the reader and a browser agree on every name and value of any well-formed cookie", () => {
  const name = fc.string({
    unit: fc.constantFrom(...'abs-_.~! \t\u00a0\u2000"/'),
    minLength: 1,
    maxLength: 6,
  });
  const value = fc.string({ unit: fc.constantFrom(...'ab=, \t\u00a0\ufeff"/%'), maxLength: 6 });
  fc.assert(
    fc.property(fc.array(fc.tuple(name, value), { minLength: 1, maxLength: 6 }), (cookies) => {
      const browser = new BrowserCookies();
      for (const [name, value] of cookies) browser.receive(`${name}=${value}; Path=/`, SHOP);
      const sent = browser.sentTo(SHOP).filter(({ name }) => name !== "");
      // A cookie without a name looks like any text: what it is read as is not the reader's to decide.
      if (browser.sentTo(SHOP).some(({ name }) => name === "")) return;
      for (const { name } of sent) {
        const expected = sent.filter((cookie) => cookie.name === name).map(({ value }) => value);
        assertEquals(cookieValues(browser.header(SHOP), name), expected);
      }
    }),
    { numRuns: 1_000 },
  );
});

Deno.test("planted cookie: a header of any size is read in time that grows with its length alone", () => {
  const sizes = [20_000, 200_000];
  for (const fill of ["; ", " ", "=", "\t\t;", `${NAME}; `, `${NAME}=`]) {
    // The fastest of several: a busy machine may stop any of them for a while.
    const [small, large] = sizes.map((size) => {
      const header = fill.repeat(size / fill.length) + NAME;
      const times = Array.from({ length: 5 }, () => {
        const start = performance.now();
        cookieValues(header, NAME);
        return performance.now() - start;
      });
      return Math.min(...times);
    });
    // Ten times as long: a reader that rescans takes a hundred times as long, and seconds.
    assert(large! < 40 * small! + 200, `${JSON.stringify(fill)}: ${small} ms, then ${large} ms`);
  }
});
