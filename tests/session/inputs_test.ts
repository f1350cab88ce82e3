// deno-lint-ignore-file no-console -- one test reads what the console is told
/** Bad input to sessions: a TypeError or RangeError that names what to change, before any I/O. */
import {
  type AtomicStore,
  createSessions,
  HoldfastError,
  memoryStore,
  type SessionsOptions,
} from "@holdfast/edge";
import { createSealedSessions } from "@holdfast/edge/sessions";
import { session } from "@holdfast/edge/hono";
import { assert, assertEquals, assertRejects, assertThrows } from "../support/assert.ts";

/** A store that no call may reach. */
function untouched(): AtomicStore {
  const store: AtomicStore = new Proxy(memoryStore(), {
    get(target, name) {
      if (name === "namespace") return () => store;
      if (name === "transact") return () => Promise.reject(new Error("I/O"));
      return Reflect.get(target, name);
    },
  });
  return store;
}

const KEYS = [{ id: "test", secret: "A".repeat(43) }] as const;
// deno-lint-ignore no-explicit-any
const any = (value: unknown): any => value;

Deno.test("sessions: a user id is a non-empty, well-formed string everywhere, or nothing is asked", async () => {
  const sessions = createSessions(untouched());
  const sealed = createSealedSessions({ keys: KEYS, revocation: untouched() });
  for (const id of [5, undefined, null, "", { id: 1 }, [], true, "\ud800"].map(any)) {
    const calls: (() => Promise<unknown>)[] = [
      () => sessions.revokeUser(id),
      () => sessions.listSessions(id),
      () => sessions.revokeSession(id, "handle"),
      () => sessions.revokeSession("ada", id),
      () => sealed.revokeUser(id),
    ];
    if (id !== undefined && id !== null) calls.push(() => sessions.revokeUser("ada", { except: id }));
    for (const call of calls) {
      const { message } = await assertRejects(call, TypeError);
      assert(message.includes("must be a non-empty, well-formed string"), message);
    }
    for (const made of [sessions, sealed]) assertThrows(() => made.open(null).login(id), TypeError);
  }
});

Deno.test("sessions: an invalid Cookie header, request, key, schema or option is named by the error", () => {
  const sessions = createSessions(untouched());
  const sealed = createSealedSessions({ keys: KEYS });
  const request = new Request("https://shop.test/");
  const cases: readonly (readonly [() => unknown, string])[] = [
    [() => sessions.open(any(request)), "fromRequest(request)"],
    [() => sealed.open(any(request)), "fromRequest(request)"],
    [() => sessions.open(any(request.headers)), "takes the Cookie header"],
    [() => sessions.fromRequest(any("a=b")), "takes a Request"],
    [() => sealed.fromRequest(any(undefined)), "takes a Request"],
    [() => createSealedSessions(any({})), "'keys' must be a list"],
    [() => createSealedSessions(any(undefined)), "options must be an object"],
    [() => createSealedSessions(any({ keys: "secret" })), "'keys' must be a list"],
    [() => createSealedSessions(any({ keys: [undefined] })), "32 random bytes"],
    [() => createSealedSessions(any({ keys: [{ id: "a", secret: 32 }] })), "32 random bytes"],
    [() => createSealedSessions(any({ keys: [{ secret: "A".repeat(43) }] })), "an id of its own"],
    [() => createSessions(memoryStore(), any({ schema: {} })), "must be a Standard Schema"],
    [() => createSealedSessions(any({ keys: KEYS, schema: { parse() {} } })), "must be a Standard Schema"],
    [() => createSessions(any(undefined)), "need an AtomicStore"],
    [() => session(any(undefined)), "it needs options"],
    [() => session(any(null)), "it needs options"],
  ];
  for (const [call, words] of cases) {
    const { message } = assertThrows(call, TypeError);
    assert(message.includes(words), message);
  }
});

Deno.test("sessions: an idle timeout beyond the absolute one is refused; the default one is never beyond it", async () => {
  const wrong: SessionsOptions<never>[] = [
    { idleTimeout: "13h" },
    { idleTimeout: "2m", absoluteTimeout: "1m" },
  ];
  for (const options of wrong) {
    assertThrows(() => createSessions(memoryStore(), options), RangeError);
    assertThrows(() => createSealedSessions({ keys: KEYS, ...options }), RangeError);
  }
  const sessions = createSessions(memoryStore(), { absoluteTimeout: "5m" });
  const short = sessions.open(null);
  short.set("x", 1);
  assertEquals((await sessions.commit(short))!.includes("; Max-Age=300;"), true);
});

Deno.test("sessions: a Secure cookie over what may be plain HTTP is reported once, on the console without a listener", async () => {
  const lines: unknown[] = [];
  const { warn } = console;
  console.warn = (line: unknown) => void lines.push(line);
  try {
    for (const listens of [false, true]) {
      const faults: unknown[] = [];
      const sessions = createSessions(memoryStore(), listens ? { onFault: (it) => faults.push(it) } : {});
      for (let i = 0; i < 2; i++) {
        const bound = sessions.fromRequest(new Request("http://shop.test/"));
        bound.set("x", 1);
        assertEquals((await bound.commit(new Response("saved"))).status, 200);
      }
      assertEquals([faults.length, lines.length], listens ? [1, 1] : [0, 1]);
      if (listens) assert(faults[0] instanceof HoldfastError && faults[0].code === "misconfigured");
    }
    assert(String(lines[0]).includes("Secure cookie"));
  } finally {
    console.warn = warn;
  }
});
