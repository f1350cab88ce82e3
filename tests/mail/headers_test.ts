/** Header fields, names and file names as they are written, and the body encoder's cost. */
import { buildMime, formatAddress, type Message, parseAddress, prepareMessage } from "@holdfast/edge/mail";
import PostalMime from "postal-mime";
import { encodeText } from "../../src/mail/_body_encoding.ts";
import { assert, assertEquals, assertMatch, assertThrows } from "../support/assert.ts";
import { report } from "../support/report.ts";

const message: Message = {
  from: "shop@example.com",
  to: "jane@example.com",
  subject: "Hello",
  text: "Hello",
};

async function raw(more: Partial<Message>): Promise<string> {
  return new TextDecoder().decode((await buildMime({ ...message, ...more })).bytes);
}

/** A header as it was written, folding included. */
async function written(name: string, value: string): Promise<string> {
  const text = await raw({ headers: { [name]: value } });
  return new RegExp(`^${name}:.*(?:\\r\\n[ \\t].*)*`, "m").exec(text)![0];
}

const unfolded = (header: string) => header.replace(/\r\n(?=[ \t])/g, "");

Deno.test("structured headers are folded and never encoded, whatever spaces they came with", async () => {
  const id = (n: number) => `<${String(n).padStart(20, "0")}@mail.example.com>`;
  const ids = Array.from({ length: 40 }, (_, i) => id(i));
  assertEquals(await written("In-Reply-To", "<a@example.com> "), "In-Reply-To: <a@example.com>");
  const references = await written("References", ids.join("  "));
  assertEquals(unfolded(references), `References: ${ids.join(" ")}`);
  assert(references.split("\r\n").every((line) => line.length <= 76), references);
  const url = (n: number) => `<https://example.com/leave/${"x".repeat(n)}>`;
  const long = `${url(850)}, <mailto:leave@example.com?subject=leave>`;
  for (const value of [long, url(870), Array(9).fill(url(70)).join(", ")]) {
    const header = await written("List-Unsubscribe", value);
    assertEquals(unfolded(header), `List-Unsubscribe: ${value}`);
    // A line may only end between the parts of the list, never inside an address.
    for (const line of header.split("\r\n").slice(1)) assertMatch(line, /^ </);
    assert(header.split("\r\n").every((line) => line.length <= 998));
  }
  for (const name of ["List-Id", "X-Custom", "Feedback-ID", "List-Help"]) {
    assertEquals(await written(name, " a =?b?= c "), `${name}: a =?b?= c`);
  }
});

Deno.test("a custom header in ASCII goes out as it was given, its inner spaces included", async () => {
  assertEquals(unfolded(await written("X-Note", "two  spaces,   three")), "X-Note: two  spaces,   three");
  const long = Array.from({ length: 60 }, (_, i) => `word${i}${i % 7 === 0 ? " " : ""}`).join(" ");
  const header = await written("X-Note", long);
  assertEquals(unfolded(header), `X-Note: ${long.trimEnd()}`);
  assert(header.split("\r\n").every((line) => line.length <= 78 && line.trim() !== ""), header);
  assertMatch(await written("X-Note", "Grüße"), /^X-Note: =\?UTF-8\?B\?/);
});

Deno.test("an empty header, a structured one outside ASCII, and one that cannot be folded are refused", () => {
  const bad: Record<string, string>[] = [
    { "X-Empty": "" },
    { "X-Empty": "   " },
    { "References": "<ü@example.com>" },
    { "List-Id": "Grüße <list.example.com>" },
    { "X-Long": "x".repeat(901) },
  ];
  for (const headers of bad) assertThrows(() => prepareMessage({ ...message, headers }), TypeError);
});

Deno.test("a display name that looks like an encoded word is read as the name itself", async () => {
  const name = "=?UTF-8?B?ZXZpbEBleGFtcGxlLmNvbQ==?=";
  assertEquals(formatAddress({ name, address: "a@example.com" }), `"${name}" <a@example.com>`);
  const { from } = await PostalMime.parse(await raw({ from: { name, address: "a@example.com" } }));
  assertEquals([from?.name, from?.address], [name, "a@example.com"]);
});

Deno.test("a quoted pair outside ASCII is no address", () => {
  for (const address of ['"test\\©"@iana.org', '"\\ü"@example.com']) {
    assertThrows(() => parseAddress(address), TypeError);
    assertThrows(() => parseAddress({ address }), TypeError);
  }
  assertEquals(parseAddress('"a\\"b"@example.com').address, '"a\\"b"@example.com');
});

Deno.test("of a file's path only the last part is sent", async () => {
  const names: [given: string, sent: string][] = [
    ["../../secret/passwd", "passwd"],
    ["C:\\Users\\jane\\bill.pdf", "bill.pdf"],
    ["/etc/x/..\\y.txt", "y.txt"],
    [".env", ".env"],
    ["a b.txt", "a b.txt"],
  ];
  for (const [given, sent] of names) {
    const prepared = prepareMessage({ ...message, attachments: [{ filename: given, content: "x" }] });
    assertEquals(prepared.attachments[0]!.filename, sent);
    const text = await raw({ attachments: [{ filename: given, content: "x" }] });
    assert(!/secret|etc|jane\\/.test(text), text);
    assert(text.includes(`filename="${sent}"`), text);
  }
  for (const filename of ["../", "a/..", "a\\.", "/"]) {
    assertThrows(() => prepareMessage({ ...message, attachments: [{ filename, content: "x" }] }), TypeError);
  }
});

Deno.test("a file name outside ASCII has its RFC 2231 form and a fallback for programs without it", async () => {
  for (const filename of ["Grüße.pdf", "日本語".repeat(20) + ".txt", "emoji 😀.png"]) {
    const text = await raw({
      attachments: [{ filename, content: "x", contentType: "text/plain; charset=utf-8" }],
    });
    const header = /^Content-Type: text\/plain; charset=utf-8;(?:.*\r\n)(?:[ \t].*\r\n)*/m.exec(text)![0];
    const words = /name="([^"]*)"/.exec(unfolded(header))![1]!;
    const decoded = words.split(" ").map((word) => {
      const base64 = /^=\?UTF-8\?B\?([A-Za-z\d+/=]+)\?=$/.exec(word)![1]!;
      return new TextDecoder("utf-8", { fatal: true }).decode(
        Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)),
      );
    });
    assertEquals(decoded.join(""), filename);
    assert(text.includes("filename*0*=utf-8''"));
    assert(text.split("\r\n").every((line) => line.length <= 998));
    const parsed = await PostalMime.parse(text);
    assertEquals(parsed.attachments[0]!.filename, filename);
  }
});

Deno.test("the body encoder is linear: ten times the text takes about ten times as long, at any line length", () => {
  const line = "x".repeat(997);
  const time = (text: string) => {
    const times = Array.from({ length: 5 }, () => {
      const began = performance.now();
      encodeText(text);
      return performance.now() - began;
    });
    return Math.min(...times);
  };
  const small = time(`${line}\n`.repeat(100));
  const large = time(`${line}\n`.repeat(2000));
  report(`encoder: 100 KB in ${small.toFixed(2)} ms, 2 MB in ${large.toFixed(2)} ms`);
  // It took 2.3 s per MB, on a machine with nothing else to do: a few milliseconds are enough.
  assert(large < 3000, `${large} ms for 2 MB`);
  for (
    const text of [
      "x".repeat(3_000_000),
      " ".repeat(1_000_000),
      "\n".repeat(1_000_000),
      "From ".repeat(200_000),
    ]
  ) {
    assert(time(text) < 5000);
  }
});

Deno.test("text that every server passes on unchanged goes as it is, and no other", () => {
  const plain = ["a", "a\r\nb", "", "\r\n", "x".repeat(998), "a\tb", "from me", "a From b", "a\r\n\r\nb"];
  const other = ["a ", "a \r\nb", "a\t", "x".repeat(999), "From me", "a\nFrom b", "ü", "\x01", "a\x7f"];
  for (const text of plain) assertEquals(encodeText(text).encoding, "7bit", JSON.stringify(text));
  for (const text of other) assert(encodeText(text).encoding !== "7bit", JSON.stringify(text));
});

Deno.test("a mistyped field of a message, an address, a file or an option is refused by its name", () => {
  const bad: [object, RegExp][] = [
    [{ ...message, txet: "x" }, /'txet'/],
    [{ ...message, to: { adress: "a@example.com", address: "a@example.com" } }, /'adress'/],
    [
      { ...message, attachments: [{ filename: "a", content: "x", contenttype: "text/plain" }] },
      /'contenttype'/,
    ],
    [{ ...message, unsubscribe: { URL: "https://example.com" } }, /'URL'/],
    [{ ...message, calendar: { method: "REQUEST", content: "x", contents: "y" } }, /'contents'/],
  ];
  for (const [one, pattern] of bad) {
    const error = assertThrows(() => prepareMessage(one as Message), TypeError);
    assertMatch(error.message, pattern);
  }
});
