/** The table of requirements in `docs/security.md`: whole, and every test that it names exists. */
import {
  sealedSessionLaw,
  sessionIndexLaw,
  sessionLaw,
  sessionStoreLaw,
  sessionUserLaw,
} from "@holdfast/edge/testing";
import { cases } from "../replication/_faults_scenario.ts";
import { assert, assertEquals } from "../support/assert.ts";

const root = new URL("../../", import.meta.url);

/** The folders of the tests. */
const FOLDERS = ["session", "hono", "security", "security/canary", "better_auth", "replication", "engines"];

async function documentation(): Promise<string> {
  return await Deno.readTextFile(new URL("docs/security.md", root));
}

/** Whether a test of that name exists: as written, or from a template whose gaps may be anything. */
async function testNames(): Promise<(name: string) => boolean> {
  const exact = new Set(
    [...sessionLaw, ...sessionUserLaw, ...sessionStoreLaw, ...sessionIndexLaw, ...sealedSessionLaw].map((
      { name },
    ) => name),
  );
  const laws = [...exact];
  for (const name of Object.keys(cases)) exact.add(name); // each is a test of tests/replication/faults_test.ts
  const patterns: RegExp[] = [];
  for (const folder of FOLDERS) {
    for await (const { name } of Deno.readDir(new URL(`tests/${folder}/`, root))) {
      if (!name.endsWith("_test.ts")) continue;
      const source = await Deno.readTextFile(new URL(`tests/${folder}/${name}`, root));
      for (const [, title] of source.matchAll(/(?:Deno\.test|workerdTest)\(\s*"([^"]+)"/g)) exact.add(title!);
      for (const [, title] of source.matchAll(/Deno\.test\(\s*`([^`]+)`/g)) {
        const parts = title!.split(/\$\{[^}]*\}/);
        if (parts.at(-1) === "" && parts.length > 1) {
          // A template that ends in a law's name: the law must exist, too.
          const before = parts.slice(0, -1).map(escaped).join(GAP);
          for (const law of laws) patterns.push(new RegExp(`^${before}${escaped(law)}$`));
        } else patterns.push(new RegExp(`^${parts.map(escaped).join(GAP)}$`));
      }
    }
  }
  return (name) => exact.has(name) || patterns.some((pattern) => pattern.test(name));
}

const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
/** The text in a gap of a template. */
const GAP = "[^:]+?";

function cells(row: string): string[] {
  return row.split("|").map((cell) => cell.trim());
}

Deno.test("the table of requirements is whole, and every test it names exists", async () => {
  const rows = (await documentation()).split("\n").filter((line) => /^\| \d+\.\d+\.\d+ /.test(line));
  const ids = rows.map((row) => cells(row)[1]!);
  const asked = [
    ...["7.1.1", "7.1.2", "7.1.3", "7.2.1", "7.2.2", "7.2.3", "7.2.4", "7.3.1", "7.3.2"],
    ...["7.4.1", "7.4.2", "7.4.3", "7.4.4", "7.4.5", "7.5.1", "7.5.2", "7.5.3", "7.6.1", "7.6.2"],
    ...[
      "3.3.1",
      "3.3.2",
      "3.3.3",
      "3.3.4",
      "3.3.5",
      "11.5.1",
      "14.3.1",
      "14.3.2",
      "16.2.5",
      "16.5.2",
      "16.5.3",
    ],
  ];
  for (const id of asked) assert(ids.includes(id), `${id} is missing`);
  assertEquals(new Set(ids).size, ids.length);
  const exists = await testNames();
  assert(!exists("no such test"), "what does not exist is not found");
  for (const row of rows) {
    const named = [...cells(row)[4]!.matchAll(/`([^`]+)`/g)].map(([, name]) => name!);
    for (const name of named) assert(exists(name), `no such test: ${name}`);
    const open = /^application's/.test(cells(row)[3]!);
    assertEquals(
      named.length > 0,
      !open,
      `${cells(row)[1]}: a test for what is kept, none for what is not ours`,
    );
  }
});

Deno.test("the rows that were broken name a test for stored, sealed and replicated sessions each", async () => {
  const rows = (await documentation()).split("\n");
  for (const id of ["3.3.3", "7.4.1", "7.4.3", "16.2.5"]) {
    const tests = cells(rows.find((row) => row.startsWith(`| ${id} `))!)[4]!;
    assert(/`(a |the |of |session\(\)|logout race|no event)/.test(tests), `${id}: stored`);
    assert(/sealed|canary|flood|tokens at rest/.test(tests), `${id}: sealed`);
    assert(/replicated|`ASVS/.test(tests), `${id}: replicated`);
  }
});
