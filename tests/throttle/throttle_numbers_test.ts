/** What a throttle keeps in the process answers as reading the text anew does, and never hides a copy of a call. */
import fc from "fast-check";
import { type AtomicStore, createThrottle, memoryStore } from "@holdfast/edge";
import type { Fields, Transition } from "@holdfast/edge/engine";
import { figuresOf, figuresText, readNumbers, wholeNumber } from "../../src/throttle/throttle_numbers.ts";
import { checkThrottle } from "../../src/throttle/throttle_transitions.ts";
import { assertEquals } from "../support/assert.ts";
import { ManualClock } from "../support/manual_clock.ts";

/** A text of which a throttle may make a number, or not. */
const texts = fc.oneof(
  fc.array(fc.nat(), { maxLength: 5 }).map((numbers) => numbers.join(":")),
  fc.stringMatching(/^[0-9:]{0,40}$/),
  fc.string(),
);
/** Equal to the text, but another string: no memo finds it by its identity. */
const copyOf = (text: string) => new TextDecoder().decode(new TextEncoder().encode(text));

Deno.test("numbers of a text are read as a split reads them, and anything else is refused", () => {
  const into = [0, 0, 0, 0];
  fc.assert(fc.property(fc.array(texts, { minLength: 1 }), (all) => {
    for (const text of all) {
      const parts = text.split(":");
      const right = parts.every((part) => /^[0-9]{1,15}$/.test(part));
      const count = readNumbers(text, into);
      assertEquals(count, right ? parts.length : 0, text);
      if (right) assertEquals(into.slice(0, count), parts.map(Number), text);
      // Twice: what was kept of the first time answers the second.
      for (let i = 0; i < 2; i++) {
        assertEquals(wholeNumber(text), right && parts.length === 1 ? Number(text) : -1, text);
      }
    }
  }));
});

Deno.test("figures that were just made are the ones that a text of them has", () => {
  const figure = fc.nat(2 ** 31 - 1);
  const retry = fc.oneof(figure, fc.constant(-1));
  fc.assert(fc.property(figure, figure, figure, retry, (remaining, reset, next, retry) => {
    const text = figuresText(remaining, reset, next, retry);
    const told = [...figuresOf(text)];
    figuresText(1, 2, 3, 4); // another one, so that the text is read
    assertEquals([told, [...figuresOf(copyOf(text))]], Array(2).fill([remaining, reset, next, retry]));
  }));
});

Deno.test("a call that an engine in this process gets twice counts once, whatever call was named last", async () => {
  const inner = memoryStore({ clock: new ManualClock() });
  const sent: Fields[] = [];
  /** Keeps what is sent, so that the test can send it again. */
  const watched = (store: AtomicStore): AtomicStore =>
    new Proxy(store, {
      get(target, name) {
        if (name === "namespace") return (part: string) => watched(target.namespace(part));
        if (name !== "transact") return Reflect.get(target, name);
        return (transition: Transition, key: string, input: Fields) => {
          sent.push(input);
          return target.transact(transition, key, input);
        };
      },
    });
  const policies = { limit: 5, window: "1h", whenUnavailable: "throw" } as const;
  const through = createThrottle(watched(inner), { name: "api", ...policies });
  const direct = createThrottle(inner, { name: "api", ...policies });
  assertEquals((await direct.check("key")).remaining, 4);
  assertEquals((await through.check("key")).remaining, 3);
  const counters = inner.namespace("throttle").namespace("api");
  assertEquals(sent.length, 1);
  for (let i = 0; i < 3; i++) {
    await direct.peek("key"); // names a call
    const { allowed, policy0 } = await counters.transact(checkThrottle, "key", sent[0]!);
    assertEquals([allowed, policy0!.split(":")[0]], ["1", "3"], "a copy");
  }
  assertEquals((await direct.check("key")).remaining, 2);
});
