/** Conflicts of statements, against a query function that reports nothing else. */
import { HoldfastError } from "@holdfast/edge";
import { postgresStore } from "@holdfast/edge/postgres";
import { assert, assertRejects } from "../support/assert.ts";

Deno.test("postgres: `timeout` bounds a statement with all its repetitions after conflicts", async () => {
  let attempts = 0;
  const store = postgresStore(async () => {
    attempts++;
    await new Promise((resolve) => setTimeout(resolve, 150));
    throw Object.assign(new Error("could not serialize access"), { code: "40001" });
  }, { timeout: "200ms" });
  const error = await assertRejects(() => store.get("key"), HoldfastError);
  assert(error.retryable && ["timeout", "contention"].includes(error.code), error.code);
  assert(attempts <= 2, `${attempts} attempts of 150 ms within 200 ms`);
  await new Promise((resolve) => setTimeout(resolve, 160)); // for the last reply
});
