/**
 * Callbacks whose result is not used may be async functions. One that rejects changes nothing, as one that throws
 * changes nothing: an unhandled rejection would end the process.
 */
import { createIdempotency, createLocks, createSessions, createThrottle, memoryStore } from "@holdfast/edge";
import { createCache } from "@holdfast/edge/cache";
import { observedStore } from "@holdfast/edge/engine";
import {
  idempotentFetch,
  withCache,
  withIdempotency,
  withLock,
  withSession,
  withThrottle,
} from "@holdfast/edge/http";
import {
  failover,
  MailError,
  memoryMailer,
  observed,
  outbox,
  sendBulk,
  suppressing,
} from "@holdfast/edge/mail";
import { createOutbox } from "@holdfast/edge/outbox";
import { createSealedSessions } from "@holdfast/edge/sessions";
import { faultyMailer, faultyStore } from "@holdfast/edge/testing";
import { webhook } from "@holdfast/edge/webhooks";
import { assert, assertEquals } from "./support/assert.ts";

const message = { from: "shop@example.com", to: "jane@example.com", subject: "Order 17", text: "Thank you." };
const request = (init?: RequestInit) => new Request("https://shop.example/", init);
const broken = () => faultyStore(memoryStore(), () => "unauthorized");
const key = "k".repeat(43);

/** Runs the case with a callback that counts its calls and rejects. */
type Case = (rejecting: () => Promise<never>) => unknown;

const cases: Record<string, Case> = {
  "createThrottle: onFault": (onFault) =>
    createThrottle(broken(), { name: "n", limit: 1, window: "1m", onFault }).check("k"),
  "createIdempotency: onFault": async (onFault) => {
    const store = faultyStore(
      memoryStore(),
      ({ operation }) => operation === "idempotency.complete" ? "unauthorized" : undefined,
    );
    await createIdempotency(store, { onFault }).run("k", () => 1);
  },
  "createCache: onFault": (onFault) =>
    createCache(broken(), { name: "n", onFault }).get("k", () => 1, { ttl: "1m" }),
  "createSessions: onEvent": async (onEvent) => {
    const sessions = createSessions(memoryStore(), { onEvent });
    const session = await sessions.open(null);
    session.login("jane");
    await sessions.commit(session);
  },
  "createSessions: onFault": async (onFault) => {
    const sessions = createSessions(broken(), { onFault });
    const session = await sessions.open(null);
    session.login("jane");
    await sessions.commit(session);
  },
  "createSessions: waitUntil": async (waitUntil) => {
    const sessions = createSessions(memoryStore(), { touchEvery: 1 });
    const session = await sessions.open(null);
    session.login("jane");
    const cookie = (await sessions.commit(session))!.split(";")[0]!;
    await new Promise((resolve) => setTimeout(resolve, 20));
    const again = await sessions.open(cookie);
    await again.get("seen");
    await sessions.commit(again, { waitUntil });
  },
  "createSealedSessions: onEvent": async (onEvent) => {
    const sessions = createSealedSessions({ keys: [{ id: "a", secret: key }], onEvent });
    const session = await sessions.open(null);
    session.login("jane");
    await sessions.commit(session);
  },
  "createOutbox: onFault and retryIf": async (rejecting) => {
    const queue = createOutbox<number>(memoryStore(), {
      name: "n",
      handle: () => Promise.reject(new Error("failed")),
      onFault: rejecting,
      retryIf: rejecting as unknown as () => boolean,
    });
    await queue.add(1);
    assertEquals((await queue.drain()).retried, 1);
  },
  "outbox of mail: onFault": async (onFault) => {
    const queue = outbox(faultyMailer(memoryMailer(), () => "unauthorized"), memoryStore(), { onFault });
    await queue.send(message);
    await queue.drain();
  },
  "failover: onFault": (onFault) =>
    failover([faultyMailer(memoryMailer(), () => "unauthorized"), memoryMailer()], { onFault }).send(message),
  "suppressing: onFault": (onFault) => suppressing(memoryMailer(), broken(), { onFault }).send(message),
  "observed: onOperation": (onOperation) => observed(memoryMailer(), { onOperation }).send(message),
  "sendBulk: onProgress": async (onProgress) => {
    for await (const { state } of sendBulk(memoryMailer(), [message], { onProgress })) {
      assertEquals(state, "sent");
    }
  },
  "observedStore: onOperation": (onOperation) => observedStore(memoryStore(), { onOperation }).get("k"),
  "createLocks over observedStore: onOperation": (onOperation) =>
    createLocks(observedStore(memoryStore(), { onOperation })).withLock("k", { ttl: "1m" }, () => {}),
  "withThrottle: onFault": (onFault) =>
    withThrottle(() => new Response(), {
      store: broken(),
      name: "n",
      limit: 1,
      window: "1m",
      key: () => "k",
      onFault,
    })(request()),
  "withLock: onFault": (onFault) =>
    withLock(() => new Response(), { store: broken(), key: () => "k", ttl: "1m", onFault })(request()),
  "withIdempotency: onFault": (onFault) =>
    withIdempotency(() => new Response(), { store: broken(), scope: () => "s", onFault })(
      request({ method: "POST", headers: { "idempotency-key": '"k"' } }),
    ),
  "withCache: onFault": (onFault) =>
    withCache(() => new Response("1", { headers: { "cache-control": "public, max-age=60" } }), {
      store: broken(),
      onFault,
    })(request()),
  "withCache: waitUntil": async (waitUntil) => {
    const response = await withCache(
      () => new Response("1", { headers: { "cache-control": "public, max-age=60" } }),
      { store: memoryStore(), waitUntil },
    )(request());
    await response.text();
  },
  "withSession: onEvent": (onEvent) =>
    withSession((_request, { session }) => (session.login("jane"), new Response()), {
      store: memoryStore(),
      onEvent,
    })(request({ headers: { "sec-fetch-site": "same-origin" } })),
  "idempotentFetch: onRetry": async (onRetry) => {
    let asked = 0;
    const fetch = () => Promise.resolve(new Response(null, { status: asked++ === 0 ? 503 : 200 }));
    const response = await idempotentFetch(fetch, { onRetry })("https://shop.example/", { method: "POST" });
    assertEquals(response.status, 200);
  },
  "webhook: onFault": async (onFault) => {
    const receive = webhook(
      {
        store: memoryStore(),
        name: "n",
        verify: () => ({ state: "verified", events: [{ id: "1", payload: {} }] }),
        handle: () => Promise.reject(new Error("failed")),
        onFault,
      } as unknown as Parameters<typeof webhook>[0],
    );
    await receive(request({ method: "POST", body: "{}" }));
  },
};

for (const [name, run] of Object.entries(cases)) {
  Deno.test(`${name}: a callback that rejects is no unhandled rejection`, async () => {
    const unhandled: unknown[] = [];
    const note = (event: PromiseRejectionEvent) => {
      event.preventDefault(); // else the test run would end
      unhandled.push(event.reason);
    };
    globalThis.addEventListener("unhandledrejection", note);
    let calls = 0;
    try {
      await Promise.resolve(run(() => {
        calls++;
        return Promise.reject(new Error("the callback's own"));
      })).catch((error) => {
        // The fault that is reported may be thrown, too; an error of the test or of the callback may not.
        const own = error?.message === "the callback's own" || !("code" in Object(error));
        if (own && !(error instanceof MailError)) throw error;
      });
      await new Promise((resolve) => setTimeout(resolve, 0)); // rejections are told after all microtasks
    } finally {
      globalThis.removeEventListener("unhandledrejection", note);
    }
    assert(calls > 0, "the callback was called");
    assertEquals(unhandled, []);
  });
}
