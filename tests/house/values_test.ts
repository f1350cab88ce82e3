/** Values of options and of a message that JavaScript lets through: each is refused before any I/O. */
import { createIdempotency, createLocks, createSessions, createThrottle, memoryStore } from "@holdfast/edge";
import { createCache } from "@holdfast/edge/cache";
import { withSession } from "@holdfast/edge/http";
import { failover, memoryMailer, outbox, prepareMessage, retrying } from "@holdfast/edge/mail";
import { createOutbox } from "@holdfast/edge/outbox";
import { createSealedSessions } from "@holdfast/edge/sessions";
import { webhook } from "@holdfast/edge/webhooks";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";

// deno-lint-ignore no-explicit-any
type Any = any;
const store = () => memoryStore();
const message = { from: "shop@example.com", to: "jane@example.com", subject: "Order 17", text: "Thank you." };

const made: Record<string, (options: Record<string, unknown>) => unknown> = {
  "attempts, delay, maxDelay, lease, buckets, retention, remember, whenUnknown, attemptTimeout, onFault, name":
    (options) => outbox(memoryMailer(), store(), options as Any),
  "attempts, delay, lease, buckets, whenUnknown, attemptTimeout, retryIf, onFault": (options) =>
    createOutbox(store(), { name: "n", handle: () => {}, ...options } as Any),
  "attempts, delay, maxDelay, timeout, attemptTimeout": (options) => retrying(memoryMailer(), options as Any),
  "weights, cooldown, whenUnknown, onFault": (options) => failover([memoryMailer()], options as Any),
  "lease, maxLifetime, timeout, near, whenUnavailable, onFault, clock": (options) =>
    createCache(store(), { name: "n", ...options } as Any),
  "name, lease, retention, maxHold, timeout, onFault": (options) =>
    createIdempotency(store(), options as Any),
  "whenUnavailable, timeout, denyCache, onFault": (options) =>
    createThrottle(store(), { name: "n", limit: 1, window: "1m", ...options } as Any),
  "maxBody, concurrency, lease, onFault": (options) =>
    webhook({ store: store(), name: "n", verify: () => {}, handle: () => {}, ...options } as Any),
  "cookie, timeout, eventual, touchEvery, onEvent, schema": (options) =>
    createSessions(store(), options as Any),
};

for (const [names, make] of Object.entries(made)) {
  Deno.test(`null is no way to leave out ${names}`, () => {
    for (const name of names.split(", ")) {
      const { message } = assertThrows(() => make({ [name]: null }), TypeError);
      assert(message.includes(`'${name}' must not be null`), message);
      make({ [name]: undefined });
    }
  });
}

Deno.test("null is no ttl of a lock", async () => {
  await assertRejects(() => createLocks(store()).acquire("k", { ttl: null } as Any), TypeError);
});

Deno.test("createSessions checks 'timeout' and 'eventual' on every kind of store", () => {
  assertThrows(() => createSessions(store(), { timeout: "banana" } as Any), RangeError);
  assertThrows(() => createSessions(store(), { eventual: "no" } as Any), TypeError);
});

Deno.test("withSession: 'cookie' is an object of options", () => {
  for (const cookie of [null, true, 5, "sid", []]) {
    const options = { store: store(), cookie } as Any;
    const { message } = assertThrows(() => withSession(() => new Response(), options), TypeError);
    assert(!message.includes("no option '0'"), message);
  }
  withSession(() => new Response(), { store: store(), cookie: { name: "sid" } });
});

Deno.test("createSealedSessions: a bare secret in place of a key is told the form of a key", () => {
  const secret = "5qmVaCBD6upQzDn6c7CeSi_iHLwzJ_p9of_cv0gOHss";
  const { message } = assertThrows(() => createSealedSessions({ keys: [secret] } as Any), TypeError);
  assert(message.includes("{ id, secret }"), message);
  createSealedSessions({ keys: [{ id: "a", secret }] });
});

Deno.test("outbox: list() refuses a state that is none", async () => {
  const queues = [createOutbox(store(), { name: "n", handle: () => {} }), outbox(memoryMailer(), store())];
  for (const queue of queues) {
    for (const state of ["sending", "ded", 7, null, ""]) {
      await assertRejects(() => Array.fromAsync(queue.list({ state } as Any)), TypeError);
    }
    for (const state of ["queued", "delivering", "dead", "in-doubt", undefined] as const) {
      assertEquals(await Array.fromAsync(queue.list({ state })), []);
    }
  }
});

Deno.test("a message: 'sendAt' is a valid Date, and 'provider' an object of options", () => {
  const values: [string, unknown[]][] = [
    ["sendAt", [NaN, "", 0, false, null, "2030-01-01", 1_900_000_000_000, new Date(NaN)]],
    ["provider", [null, 0, "", [], new Date(), new Map(), "resend", false]],
    ["headers", [null, [], "x", new Date(), new Map()]],
    ["metadata", [null, [], new Map()]],
    ["subject", [null, 0, ""]],
    ["text", [null, 0, ""]],
    ["calendar", [null, 0, "", false, []]],
    ["unsubscribe", [null, 0, "", false, []]],
    ["attachments", [null, 0, "", false, {}]],
    ["cc", [null, 0, "", false, {}]],
  ];
  for (const [name, bad] of values) {
    for (const value of bad) {
      assertThrows(() => prepareMessage({ ...message, [name]: value } as Any), TypeError);
    }
    prepareMessage({ ...message, [name]: name === "subject" || name === "text" ? "x" : undefined });
  }
});
