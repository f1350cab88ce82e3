/**
 * No object that a user can hold shows a secret when it is printed, logged or written as JSON. Each file in
 * `canary/` holds the objects of one area.
 */
import { inspect } from "node:util";
import { assert, assertEquals } from "../support/assert.ts";
import type { Held } from "./canary/_held.ts";

/** Every way in which an object usually becomes text. */
const WAYS: Readonly<Record<string, (value: unknown) => string>> = {
  "Deno.inspect": (value) =>
    Deno.inspect(value, { depth: 100, getters: true, showHidden: true, strAbbreviateSize: 1e6 }),
  "node:util inspect": (value) =>
    inspect(value, { depth: 100, getters: true, showHidden: true, maxStringLength: null }),
  "JSON.stringify": (value) => JSON.stringify(value) ?? "",
  "String": (value) =>
    typeof value === "object" && value !== null ? Object.prototype.toString.call(value) : String(value),
  "spread": (value) => typeof value === "object" ? JSON.stringify({ ...value as object }) : "",
  "structure": (value) => walk(value, new Set()),
};

/** All that can be reached by names, symbols and getters, also of prototypes; no calls. */
function walk(value: unknown, seen: Set<unknown>): string {
  if (typeof value === "string") return `${value}\n`;
  if ((typeof value !== "object" && typeof value !== "function") || value === null || seen.has(value)) {
    return "";
  }
  seen.add(value);
  let text = "";
  for (
    let at: object | null = value as object;
    at !== null && !BUILT_IN.has(at);
    at = Object.getPrototypeOf(at)
  ) {
    for (const name of Reflect.ownKeys(at)) {
      if (name === "constructor" || name === "__proto__") continue;
      try {
        text += `${String(name)}\n${walk(Reflect.get(value as object, name), seen)}`;
      } catch {
        // a getter that throws shows nothing
      }
    }
  }
  return text;
}

const BUILT_IN: ReadonlySet<object> = new Set([Object.prototype, Function.prototype, Array.prototype]);

const folder = new URL("canary/", import.meta.url);
const areas = [...Deno.readDirSync(folder)].map(({ name }) => name).filter((name) => !name.startsWith("_"))
  .sort();

Deno.test("canary: each way of printing shows a planted secret", () => {
  class Leaky {
    readonly token = "a-secret-token";
    #kept = "hidden";
    get own() {
      return this.#kept;
    }
  }
  const found = Object.entries(WAYS).filter(([, way]) =>
    way({ a: [new Leaky()] }).includes("a-secret-token")
  );
  assertEquals(found.map(([name]) => name), [
    "Deno.inspect",
    "node:util inspect",
    "JSON.stringify",
    "spread",
    "structure",
  ]);
  assert(WAYS.structure!(new Leaky()).includes("hidden"), "getters of a class are looked at, too");
});

for (const area of areas) {
  Deno.test(`canary: ${area.replace(/\.ts$/, "")}: no object that a user can hold shows a secret`, async () => {
    const { held } = await import(new URL(area, folder).href) as { held: () => Promise<Held> };
    const { objects, secrets, close } = await held();
    try {
      assert(Object.keys(objects).length > 0 && secrets.length > 0, "it holds something");
      assert(secrets.every((secret) => secret.length >= 8), "no secret appears by chance");
      const leaks: string[] = [];
      for (const [name, value] of Object.entries(objects)) {
        const errors = value instanceof Error ? [value.stack, value.message, value.cause] : [];
        for (const [way, print] of Object.entries(WAYS)) {
          const text = [value, ...errors].map(print).join("\n");
          for (const secret of secrets) if (text.includes(secret)) leaks.push(`${name}: ${way}`);
        }
      }
      assertEquals([...new Set(leaks)], []);
    } finally {
      await close?.();
    }
  });
}
