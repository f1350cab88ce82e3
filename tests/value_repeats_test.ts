/**
 * The effect of a repetition of each value transition, as a table. A reply can be lost after the engine has
 * done the call; whether the caller may repeat it depends on this. The engines here never repeat a write by
 * themselves (`tests/faults`).
 *
 * - `at once`: the copy arrives directly after the call. `same` answer and no further change, or `differs`.
 * - `late`: the copy arrives after another caller wrote. `harmless` leaves that write, `overwrites` undoes it.
 */
import { type Fields, type Transition, valueTransitions } from "@holdfast/edge/engine";
import { assertEquals } from "./support/assert.ts";

const NOW = 1_700_000_000_000;

interface Case {
  readonly input: Fields;
  /** The record before the call. */
  readonly before: Fields | undefined;
  readonly atOnce: "same" | "differs";
  readonly late: "harmless" | "overwrites";
}

const CASES: Readonly<Record<string, Case>> = {
  "value.get": { input: {}, before: { v: "a" }, atOnce: "same", late: "harmless" },
  "value.set": { input: { v: "b" }, before: { v: "a" }, atOnce: "same", late: "overwrites" },
  "value.take": { input: {}, before: { v: "a" }, atOnce: "differs", late: "overwrites" },
  "value.touch": { input: { ttl: "1000" }, before: { v: "a" }, atOnce: "same", late: "overwrites" },
  "value.replace": {
    input: { expected: "a", v: "b" },
    before: { v: "a" },
    atOnce: "differs",
    late: "harmless",
  },
  "value.remove": { input: { expected: "a" }, before: { v: "a" }, atOnce: "differs", late: "harmless" },
  "value.increment": { input: { by: "1" }, before: { v: "\t1" }, atOnce: "differs", late: "overwrites" },
};

/** The record after a call, and its output. */
function run(transition: Transition, record: Fields | undefined, input: Fields) {
  const { output, write } = transition.apply(record, input, NOW);
  return { output, record: write === undefined ? record : write.record };
}

Deno.test("every value transition is in the table of repetitions", () => {
  assertEquals(valueTransitions.map(({ name }) => name).sort(), Object.keys(CASES).sort());
});

for (const transition of valueTransitions) {
  const { input, before, atOnce, late } = CASES[transition.name]!;
  Deno.test(`${transition.name} repeated at once: ${atOnce}; after another's write: ${late}`, () => {
    const first = run(transition, before, input);
    const second = run(transition, first.record, input);
    const same = JSON.stringify(first) === JSON.stringify(second);
    assertEquals(same ? "same" : "differs", atOnce);
    // Another caller's write, of which the deadline counts too.
    const other: Fields = { v: "\t9", e: String(NOW + 5000) };
    const after = run(transition, other, input);
    const harmless = JSON.stringify(after.record) === JSON.stringify(other);
    assertEquals(harmless ? "harmless" : "overwrites", late);
  });
}
