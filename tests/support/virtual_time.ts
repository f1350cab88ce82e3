/**
 * Laws in virtual time on an engine with real I/O. Time that a law moves stands still until the calls that it woke
 * have their answers: on a busy machine a lease would otherwise end while its extension is on the wire.
 */
import type { AtomicStore } from "@holdfast/edge";
import type { StoreSubject } from "@holdfast/edge/testing";
import { ManualClock } from "./manual_clock.ts";

/**
 * Real milliseconds after which time moves on although a call has no answer: it may wait for that time. No law makes such
 * a call, and a busy machine must not look like one.
 */
const PATIENCE = 15_000;

/** A store on a clock of its own, and the way to move it. */
export function inVirtualTime(
  open: (clock: ManualClock) => AtomicStore,
  clock: ManualClock = new ManualClock(),
): StoreSubject<AtomicStore> & { readonly clock: ManualClock } {
  let calls = 0;
  const counted = (store: AtomicStore): AtomicStore =>
    new Proxy(store, {
      get(target, name) {
        const member: unknown = Reflect.get(target, name, target);
        if (name === "namespace") return (space: string) => counted(target.namespace(space));
        if (typeof member !== "function") return member;
        return (...args: unknown[]) => {
          const result: unknown = Reflect.apply(member, target, args);
          // `watch` waits for others, and a listing is asked page by page.
          if (name === "watch" || !(result instanceof Promise)) return result;
          calls++;
          const done = () => void calls--;
          result.then(done, done);
          return result;
        };
      },
    });
  const answered = async () => {
    const latest = performance.now() + PATIENCE;
    for (let quiet = 0; quiet < 2 && performance.now() < latest;) {
      await new Promise((resolve) => setTimeout(resolve, 0));
      quiet = calls === 0 ? quiet + 1 : 0;
    }
  };
  return { store: counted(open(clock)), clock, wait: (ms) => clock.advance(ms, answered) };
}
