/** The codec: what comes back is what went in, and what cannot come back is refused before any I/O. */
import fc from "fast-check";
import { decodeValue, encodeValue } from "../src/codec.ts";
import { assert, assertEquals, assertThrows } from "./support/assert.ts";

class Point {
  x = 1;
}

class Money {
  constructor(readonly cents: number) {}
  toJSON(): unknown {
    return { cents: this.cents };
  }
}

function holding(key: string): unknown {
  const value: Record<string, unknown> = { list: [] };
  value[key] = value;
  (value.list as unknown[]).push(value);
  return value;
}

/** Values that JSON does not hold. */
const REFUSED: Readonly<Record<string, unknown>> = {
  "a Map": new Map([[1, 2]]),
  "a Set": new Set([1]),
  "NaN": NaN,
  "Infinity": -Infinity,
  "a Promise": Promise.resolve(1),
  "a Response": new Response("x"),
  "an Error": new Error("x"),
  "a RegExp": /x/,
  "an ArrayBuffer": new ArrayBuffer(2),
  "other typed arrays": new Float64Array(2),
  "a DataView": new DataView(new ArrayBuffer(2)),
  "an instance of a class": new Point(),
  "an instance of a class that extends nothing": new (class {
    a = 1;
  })(),
  "a boxed number": Object(1),
  "Headers": new Headers(),
  "FormData": new FormData(),
  "an invalid Date": new Date(NaN),
  "a bigint": 1n,
  "a function": () => {},
  "a symbol": Symbol("x"),
  "a toJSON that answers a Map": { toJSON: () => new Map() },
  "a toJSON that answers itself": new (class {
    toJSON(): unknown {
      return this;
    }
  })(),
  "a cycle": holding("self"),
};

Deno.test("encodeValue() refuses values that JSON cannot hold, at the top, in an array and in an object", () => {
  const accepted: string[] = [];
  for (const [name, value] of Object.entries(REFUSED)) {
    const places = { top: value, array: [1, [value]], object: { a: { b: value } } };
    for (const [place, value] of Object.entries(places)) {
      try {
        encodeValue(value);
        accepted.push(`${name} (${place})`);
      } catch (error) {
        assert(error instanceof TypeError, `${name} (${place}): ${error}`);
      }
    }
  }
  assertEquals(accepted, []);
});

Deno.test("encodeValue() refuses undefined at the top and in arrays, a hole too, and leaves out properties", () => {
  assertThrows(() => encodeValue(undefined), TypeError);
  assertThrows(() => encodeValue([undefined]), TypeError);
  assertThrows(() => encodeValue(new Array(2)), TypeError);
  assertEquals(decodeValue(encodeValue({ a: undefined, b: 1 })), { b: 1 });
});

Deno.test("encodeValue() refuses bytes inside another value, a Buffer too", async () => {
  const { Buffer } = await import("node:buffer");
  for (const bytes of [new Uint8Array([1]), Buffer.from([1])]) {
    assertThrows(() => encodeValue({ bytes }), TypeError);
    assertEquals(decodeValue(encodeValue(bytes)), new Uint8Array([1]));
  }
});

Deno.test("encodeValue() names the type and never the value", () => {
  const error = assertThrows(() => encodeValue({ secret: new Map([["secret", "secret"]]) }), TypeError);
  assert(/an instance of Map/.test(error.message) && !/secret/.test(error.message), error.message);
});

Deno.test("encodeValue() stores the result of toJSON: a Date and a URL come back as strings", () => {
  const date = new Date(0);
  const value = { at: date, to: new URL("https://example.com/"), price: new Money(5) };
  assertEquals(decodeValue(encodeValue(value)), {
    at: "1970-01-01T00:00:00.000Z",
    to: "https://example.com/",
    price: { cents: 5 },
  });
});

Deno.test("strings with lone surrogates come back exact and are well-formed text on their way", () => {
  const texts = ["\ud800", "a\udfffb", "\ud83d", "\u0001\ud800", "\t\ud800"];
  for (const text of texts) {
    for (const value of [text, [text], { [text]: text }]) {
      const encoded = encodeValue(value);
      assert(encoded.isWellFormed());
      assertEquals(decodeValue(encoded), value);
    }
  }
});

Deno.test("500 levels are stored, more are refused, and neither overflows the stack", () => {
  const nested = (levels: number) => {
    let value: unknown = 1;
    for (let i = 0; i < levels; i++) value = [value];
    return value;
  };
  assertEquals(decodeValue(encodeValue(nested(500))), nested(500));
  for (const levels of [502, 100_000]) assertThrows(() => encodeValue(nested(levels)), TypeError);
});

Deno.test("every JSON value comes back unchanged, also objects of another realm or without a prototype", () => {
  const plain = (value: unknown) => JSON.parse(JSON.stringify(value));
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      assertEquals(decodeValue(encodeValue(value)), plain(value));
    }),
    { numRuns: 200 },
  );
  assertEquals(decodeValue(encodeValue(Object.assign(Object.create(null), { a: 1 }))), { a: 1 });
});

Deno.test("objects are stored although a library put a function on Object.prototype", () => {
  const prototype = Object.prototype as { extra?: () => void };
  prototype.extra = () => {};
  try {
    assertEquals(encodeValue({ a: 1 }), '\t{"a":1}');
  } finally {
    delete prototype.extra;
  }
});
