/**
 * Messages to try a mailer with: made by hand where mail programs are known to break, and by chance around
 * that.
 */
import type { Attachment, Message } from "@holdfast/edge/mail";
import type { Random } from "../support/random.ts";

const LOREM = "The quick brown fox jumps over the lazy dog. ";
const SCRIPTS = [
  "Grüße, Jörg",
  "日本語のメール",
  "Привет, мир",
  "שלום עולם",
  "مرحبا",
  "😀👩‍👩‍👧‍👦🇩🇪",
  "e\u0301\u200d\u00a0ß",
];
const from = "Shop <shop@example.com>";
const to = "jane@example.com";

/** Texts that are known to break mail software. */
export const handMade: readonly Message[] = [
  ...SCRIPTS.map((text) => ({
    from: { name: text, address: "shop@example.com" },
    to,
    subject: text,
    text,
    html: text,
  })),
  ...SCRIPTS.map((text) => ({
    from,
    to,
    subject: `${text} `.repeat(30).trim(),
    text: `${text}\n`.repeat(99) + ".",
  })),
  ...[
    "=?UTF-8?B?aGk=?=",
    "a =?utf-8?q?b?= c",
    "  leading",
    "trailing  ",
    "two  spaces",
    "x".repeat(990),
    "x".repeat(2000),
  ]
    .map((subject) => ({ from, to, subject, text: "x" })),
  ...[
    "Doe, Jane",
    'The "Boss"',
    "back\\slash",
    "a@b.c",
    "(comment)",
    "semi;colon",
    "dot.",
    "=?utf-8?q?x?=",
    "l".repeat(256),
  ]
    .map((name) => ({
      from: { name, address: "shop@example.com" },
      to: { name, address: to },
      subject: "x",
      text: "x",
    })),
  ...["x".repeat(997), "x".repeat(998), "x".repeat(999), "x".repeat(100_000), "ü".repeat(5000)]
    .map((line) => ({ from, to, subject: "long lines", text: `${line}\n${line}`, html: `<p>${line}</p>` })),
  ...[
    "line\rline",
    "line\nline",
    "line\r\nline",
    "\n\nline",
    "tab\tend\t\nspace \nx",
    ".\n..\n.x",
    "From x\nFrom y",
    "=3D=",
    "--=_x",
  ]
    .map((text) => ({ from, to, subject: "lines", text, html: text })),
  {
    from,
    to,
    subject: "control characters in a body",
    text: "bell \x07 escape \x1b[31m form feed \f\x7f\x85\u2028",
  },
  { from, bcc: ["one@example.com", "two@example.com"], subject: "bcc alone", text: "x" },
  {
    from,
    to,
    cc: "c@example.com",
    bcc: "secret@example.com",
    replyTo: ["r@example.com", "Zoë <z@example.com>"],
    subject: "all",
    text: "x",
  },
  { from, to: people(200), subject: "200 recipients", text: "x" },
  {
    from,
    to: people(20),
    cc: people(40).slice(20),
    bcc: people(45).slice(40),
    subject: "45 recipients",
    text: "x",
  },
  { from, to: '"quoted local"@example.com', subject: "a quoted local part", text: "x" },
  { from: "shop@bücher.example", to: "jane@日本語.example", subject: "IDN", text: "x" },
  {
    from,
    to,
    subject: "headers",
    text: "x",
    headers: { "X-Long": LOREM.repeat(40).trim(), "X-Name": "Jörg 😀", "References": "<a@b> <c@d>" },
  },
  {
    from,
    to,
    subject: "a list",
    text: "x",
    unsubscribe: { url: `https://example.com/${"u".repeat(500)}`, mailto: "leave@example.com" },
  },
  {
    from,
    to,
    subject: "an invitation",
    text: "x",
    html: "<p>x</p>",
    calendar: { method: "REQUEST", content: "BEGIN:VCALENDAR\r\nSUMMARY:Grüße\r\nEND:VCALENDAR" },
  },
  {
    from,
    to,
    subject: "an invitation alone",
    text: "x",
    calendar: { method: "CANCEL", content: "BEGIN:VCALENDAR\r\nEND:VCALENDAR" },
  },
  {
    from,
    to,
    subject: "inline pictures",
    text: "x",
    html: "<img src='cid:a@x'><img src='cid:b'>",
    attachments: [picture("a@x"), picture("b")],
  },
  {
    from,
    to,
    subject: "inline and attached",
    html: "<img src='cid:a@x'>",
    attachments: [picture("a@x"), file("b.bin", 100), file("c.bin", 0)],
  },
  { from, to, subject: "inline without HTML", text: "x", attachments: [picture("a@x")] },
  ...[
    "plain.txt",
    "Grüße.pdf",
    "日本語の長いファイル名".repeat(10) + ".txt",
    'quote"d.txt',
    "semi;colon=equals.txt",
    "100%'*().txt",
    "emoji 😀.png",
    " spaces .txt",
    "x".repeat(255),
  ]
    .map((filename) => ({
      from,
      to,
      subject: "file names",
      text: "x",
      attachments: [{ filename, content: "x" }],
    })),
  ...[1, 56, 57, 58, 113, 114, 115, 28_500, 28_501, 300_000]
    .map((length) => ({
      from,
      to,
      subject: `a file of ${length}`,
      text: "x",
      attachments: [file("x.bin", length)],
    })),
  {
    from,
    to,
    subject: "media types",
    text: "x",
    attachments: [
      { filename: "a.txt", content: "ä", contentType: "text/plain; charset=utf-8" },
      { filename: "b.json", content: "{}", contentType: "application/vnd.api+json" },
      { filename: "c", content: new Blob(["<svg/>"], { type: "image/svg+xml" }) },
      { filename: "d", content: "x", contentType: 'application/x; name="a b"; q=1' },
    ],
  },
];

/** A message by chance. */
export function randomMessage(random: Random): Message {
  const text = (most: number) =>
    Array.from({ length: 1 + random.below(most) }, () => word(random)).join(random.pick([" ", "", "  "]));
  const line = (most: number) => {
    const made = text(most).replace(/[\n\r\t]/g, "").slice(0, 250).toWellFormed();
    return made.trim() === "" ? "x" : made;
  };
  const address = () => ({
    ...(random.chance(0.7) && { name: line(6) }),
    address: `${random.pick(["a", "b.c", "d+e", "x_y"])}${random.below(1e6)}@${
      random.pick(["example.com", "sub.example.org", "bücher.example"])
    }`,
  });
  const some = <T>(most: number, make: () => T): T[] => Array.from({ length: random.below(most + 1) }, make);
  const body = () => some(30, () => text(20)).join(random.pick(["\n", "\r\n"])) || "x";
  const kind = random.below(3);
  return {
    from: address(),
    to: [address(), ...some(5, address)],
    cc: some(3, address),
    bcc: some(3, address),
    replyTo: some(2, address),
    subject: line(20),
    ...(kind !== 1 && { text: body() }),
    ...(kind !== 0 && { html: `<p>${body()}</p>` }),
    headers: Object.fromEntries(some(3, () => [`X-H${random.below(1000)}`, line(30).trim() || "x"])),
    attachments: some(4, (): Attachment => ({
      filename: `f${line(5).replace(/[\/\\]/g, "-")}`,
      content: Uint8Array.from({ length: 1 + random.below(3000) }, () => random.below(256)),
      ...(kind !== 0 && random.chance(0.4) && { contentId: `id${random.below(1e9)}@x` }),
    })),
  };
}

function word(random: Random): string {
  switch (random.below(6)) {
    case 0:
      return random.pick(SCRIPTS);
    case 1:
      return String.fromCodePoint(0xa1 + random.below(0x2000)).replace(/[\p{C}\p{Z}]/u, "ü");
    case 2:
      return random.pick([
        "=?",
        "?=",
        '"',
        "\\",
        ",",
        ";",
        "<",
        ">",
        "(",
        ")",
        "@",
        ":",
        ".",
        "'",
        "%",
        "=20",
        "--",
      ]);
    case 3:
      return random.pick(LOREM.split(" ")).repeat(1 + random.below(30));
    default:
      return random.pick(LOREM.split(" "));
  }
}

function people(count: number): { name: string; address: string }[] {
  return Array.from(
    { length: count },
    (_, i) => ({ name: `Recipient, ${i} Ü`, address: `r${i}@example.com` }),
  );
}

function file(filename: string, length: number): Attachment {
  return { filename, content: Uint8Array.from({ length }, (_, i) => (i * 31 + length) & 255) };
}

function picture(contentId: string): Attachment {
  return {
    filename: `${contentId.slice(0, 1)}.png`,
    content: new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]),
    contentType: "image/png",
    contentId,
  };
}
