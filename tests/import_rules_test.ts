import { assertEquals } from "./support/assert.ts";
import rules from "./support/import_rules.ts";

function reports(file: string, source: string): string[] {
  return Deno.lint.runPlugin(rules, file, source).map(({ message }) => message);
}

Deno.test("src/ may import src/ and nothing else", () => {
  assertEquals(reports("/repo/src/lock/create_locks.ts", `import { a } from "../clock.ts";`), []);
  assertEquals(
    reports("/repo/src/lock/create_locks.ts", `import { a } from "../../adapters/memory/memory_store.ts";`)
      .length,
    1,
  );
  assertEquals(reports("/repo/src/lock/create_locks.ts", `import { z } from "zod";`).length, 1);
  assertEquals(reports("/repo/src/lock/create_locks.ts", `export * from "node:fs";`).length, 1);
});

Deno.test("adapters/ may import src/ and adapters/, but not the root's mod.ts", () => {
  assertEquals(reports("/repo/adapters/hono/lock.ts", `import { a } from "../../src/clock.ts";`), []);
  assertEquals(reports("/repo/adapters/hono/lock.ts", `import { a } from "../_shared.ts";`), []);
  assertEquals(reports("/repo/adapters/hono/lock.ts", `import { a } from "../../mod.ts";`).length, 1);
  assertEquals(
    reports("/repo/adapters/hono/lock.ts", `import { a } from "../../tests/support/assert.ts";`).length,
    1,
  );
});

Deno.test("one file alone may import cloudflare:workers", () => {
  const source = `import { DurableObject } from "cloudflare:workers";`;
  assertEquals(reports("/repo/adapters/durable_objects/object.ts", source), []);
  assertEquals(reports("/repo/adapters/durable_objects/mod.ts", source).length, 1);
});

Deno.test("no published file imports a package", () => {
  assertEquals(
    reports("/repo/adapters/ses/ses_mailer.ts", `import { AwsClient } from "aws4fetch";`).length,
    1,
  );
});

Deno.test("one file alone may import Hono's types, and no value of it", () => {
  const file = "/repo/adapters/hono/_hono_types.ts";
  assertEquals(reports(file, `import type { Context } from "hono";`), []);
  assertEquals(reports(file, `import { Hono } from "hono";`).length, 1);
  assertEquals(reports("/repo/adapters/hono/lock.ts", `import type { Context } from "hono";`).length, 1);
});
