/** Items of structured fields by RFC 9651, sections 3.3 and 4.2, and the Idempotency-Key among them. */
import { type BareItem, parseItem } from "../../src/http/structured_fields.ts";
import { readIdempotencyKey } from "../../src/http/idempotency_key.ts";
import { assert, assertEquals } from "../support/assert.ts";

const integer = (value: number): BareItem => ({ type: "integer", value });
const decimal = (value: number): BareItem => ({ type: "decimal", value });
const string = (value: string): BareItem => ({ type: "string", value });
const token = (value: string): BareItem => ({ type: "token", value });
const bytes = (...value: number[]): BareItem => ({ type: "bytes", value: new Uint8Array(value) });
const date = (value: number): BareItem => ({ type: "date", value });
const display = (value: string): BareItem => ({ type: "display-string", value });
const [yes, no]: BareItem[] = [{ type: "boolean", value: true }, { type: "boolean", value: false }];

/** Each kind of value, as text and as what it means. */
const GOOD: readonly (readonly [string, BareItem])[] = [
  ["0", integer(0)],
  ["-0", integer(-0)],
  ["42", integer(42)],
  ["-42", integer(-42)],
  ["007", integer(7)],
  ["999999999999999", integer(999_999_999_999_999)],
  ["-999999999999999", integer(-999_999_999_999_999)],
  ["1.5", decimal(1.5)],
  ["-0.125", decimal(-0.125)],
  ["123456789012.123", decimal(123_456_789_012.123)],
  ["1.0", decimal(1)],
  ['""', string("")],
  ['"a b"', string("a b")],
  ['"a\\"b\\\\c"', string('a"b\\c')],
  ['"; , ="', string("; , =")],
  ["abc", token("abc")],
  ["*a/b:c", token("*a/b:c")],
  ["a!#$%&'*+-.^_`|~9", token("a!#$%&'*+-.^_`|~9")],
  ["::", bytes()],
  [":aGVsbG8=:", bytes(104, 101, 108, 108, 111)],
  [":aGVsbG8:", bytes(104, 101, 108, 108, 111)],
  [":/+Ah:", bytes(255, 224, 33)],
  ["?1", yes!],
  ["?0", no!],
  ["@1659578233", date(1_659_578_233)],
  ["@-1", date(-1)],
  ['%"plain"', display("plain")],
  ['%"f%c3%bc%c3%bc"', display("f\u00fc\u00fc")],
  ['%"%22 %25"', display('" %')],
];

/** No value of any kind. */
const BAD: readonly string[] = [
  "",
  " ",
  "\t1",
  "-",
  "--1",
  "+1",
  "1.",
  ".5",
  "1.2345",
  "1.2.3",
  "1e3",
  "0x1",
  "1_000",
  "1000000000000000",
  "1234567890123.1",
  '"a',
  'a"',
  '"a"b',
  '"\\a"',
  '"a\\',
  '"\u00e9"',
  '"\u0000"',
  '"\t"',
  "'a'",
  "a b",
  "a,b",
  "(a)",
  "{a}",
  "a@b",
  "\u00e9",
  ":a",
  ":a b:",
  ":a-_:",
  ":a:",
  ":=a:",
  "?",
  "?2",
  "?true",
  "? 1",
  "@",
  "@1.5",
  "@a",
  "@ 1",
  "%",
  '%"',
  '%"%"',
  '%"%C3%BC"',
  '%"%c3"',
  '%"%ff"',
  '%"\u00fc"',
  '%a"',
  "\u00a0a",
];

Deno.test("parseItem() reads every kind of value, alone and between spaces", () => {
  for (const [text, item] of GOOD) {
    for (const around of [text, ` ${text}`, `${text}  `]) {
      const { parameters, ...bare } = parseItem(around) ?? { parameters: new Map() };
      assertEquals([around, bare, parameters.size], [around, item, 0]);
    }
  }
});

Deno.test("parseItem() refuses an invalid value, and any text after a value", () => {
  for (const text of BAD) assertEquals([text, parseItem(text)], [text, undefined]);
  for (const [text] of GOOD) {
    for (const rest of ["\t", " x", ",", ", 1", '"', "=", " ;a", "\u00a0"]) {
      const whole = text + rest;
      assertEquals([whole, parseItem(whole)], [whole, undefined]);
    }
  }
});

Deno.test("parseItem() reads parameters of every kind of value and name, in their order", () => {
  for (const [text, item] of GOOD) {
    for (const name of ["a", "*", "a-b_c.d*9"]) {
      for (const gap of ["", " ", "   "]) {
        const header = `x;${gap}${name}=${text};last`;
        assertEquals([header, parseItem(header)], [header, {
          ...token("x"),
          parameters: new Map([[name, item], ["last", yes!]]),
        }]);
      }
    }
  }
  assertEquals([...parseItem("x;a;b;a=2")!.parameters], [["a", integer(2)], ["b", yes]]);
});

Deno.test("parseItem() refuses parameters with another name, space or value", () => {
  const names = ["", "A", "1", "-a", "_", ".", "a b", "a@", "\u00e4", '"a"', "\ta"];
  for (const name of names) assertEquals([name, parseItem(`x;${name}`)], [name, undefined]);
  for (const name of names) assertEquals([name, parseItem(`x;${name}=1`)], [name, undefined]);
  for (const text of BAD) {
    assertEquals([text, parseItem(`x;a=${text}`)], [text, undefined]);
    if (text.trim() !== "") assertEquals([text, parseItem(`"k";b=1;a=${text};c`)], [text, undefined]);
  }
  for (const text of ["x ;a", "x;a =1", "x;a= 1", "x;;a", "x;", "x;a;", "x;a=1 ;b", "x;a=1,y", "x;a=(1)"]) {
    assertEquals([text, parseItem(text)], [text, undefined]);
  }
});

Deno.test("an Idempotency-Key with a malformed parameter is no key, quoted or bare, strict or not", () => {
  for (const strict of [true, false]) {
    for (const rest of ["1", "1=1", "", "A", "a=", "a= 1", "a=1 ;b", "a=b c", 'a="', "a=1.2345", "a,b"]) {
      assertEquals([rest, readIdempotencyKey(`"k";${rest}`, strict)], [rest, undefined]);
      assertEquals([rest, readIdempotencyKey(`k;${rest}`, strict)], [rest, undefined]);
    }
    for (const [text] of GOOD) assertEquals(readIdempotencyKey(`"k";a=${text}`, strict), "k", text);
  }
});

Deno.test("two bare Idempotency-Keys are one key only when their texts are the same", () => {
  const texts = [
    "cart7",
    "cart7;1",
    "cart7;2",
    "cart7;a=1",
    "cart7 ",
    "cart7\u00a0",
    "\u00a0cart7",
    "Cart7",
    "cart7,",
  ];
  const keys = texts.map((text) => readIdempotencyKey(text, false));
  assertEquals(keys.filter((key) => key === "cart7").length, 2, "spaces around it belong to the header");
  assertEquals(keys.filter((key) => key !== undefined), ["cart7", "cart7", "Cart7"]);
  assert(texts.every((text) => readIdempotencyKey(text, true) === undefined), "strict takes none of them");
});

Deno.test("an Idempotency-Key has 1 to 255 characters and is no number, date, boolean or bytes", () => {
  for (
    const text of ["", " ", '""', `"${"x".repeat(256)}"`, "x".repeat(256), "1", "@1", "?1", ":YQ==:", "1.5"]
  ) {
    assertEquals([text, readIdempotencyKey(text, false)], [text, undefined]);
  }
  for (const key of ["x".repeat(255), "8e03978e-40d5-43e8-bc93-6894a57f9324", "a:b/c=d"]) {
    assertEquals(readIdempotencyKey(key, false), key);
    assertEquals(readIdempotencyKey(`"${key}"`, true), key);
  }
});
