import { cacheTransitions } from "@holdfast/edge/cache";
import { CALLERS, including, type Subject } from "./_subject.ts";

const LEASE = 10;
const TTL = 20;

interface Known {
  /** The grants that fillers know: `a 1000000`. */
  readonly granted: readonly string[];
  /** The grants from before an invalidation. */
  readonly old: readonly string[];
  /** The filler whose turn it is, and until when. */
  readonly filler: string;
  readonly until: number;
  /** The grant of the last fill that was accepted, and when it was. */
  readonly filled: string;
  readonly filledAt: number;
}

/** A cache: three fillers of one key, and an invalidation. */
export const cache: Subject<Known> = {
  name: "cache",
  transitions: cacheTransitions,
  path: "src/cache/cache_transitions.ts",
  scenario: {
    begin: { granted: [], old: [], filler: "", until: 0, filled: "", filledAt: 0 },
    // A grant is named by its time: of one filler two grants of one millisecond are the same, see `mayArrive`.
    steps: [5, 15],
    call(name) {
      const [verb, filler = "", grant = ""] = name.split(" ");
      if (verb === "invalidate") return { transition: "cache.invalidate", input: {} };
      if (verb === "read") {
        return { transition: "cache.read", input: { schema: "1", filler, lease: String(LEASE) } };
      }
      if (verb === "abandon") return { transition: "cache.abandon", input: { filler, grant } };
      const content = {
        value: `${filler} ${grant}`,
        ttl: String(TTL),
        stale: "0",
        grace: "0",
        took: "1",
        tags: "",
      };
      return { transition: "cache.fill", input: { filler, grant, ...content, schema: "1" } };
    },
    sendable: ({ known }) => [
      ...CALLERS.map((filler) => `read ${filler}`),
      ...known.granted.flatMap((grant) => [`fill ${grant}`, `abandon ${grant}`]),
      "invalidate",
    ],
    // A copy of a read within the millisecond of its first arrival would be granted the same grant.
    mayArrive: (name, { known, now }) =>
      !name.startsWith("read") || !known.old.includes(`${name.split(" ")[1]} ${now}`),
    learn(name, output, received, { known, now }) {
      const [verb, filler = "", grant = ""] = name.split(" ");
      if (verb === "invalidate") {
        const old = known.filler === "" ? known.old : including(known.old, known.filler);
        return { ...known, old: known.granted.reduce(including, old), filler: "", until: 0, filled: "" };
      }
      if (verb === "fill") {
        if (output.done !== "1") return known;
        if (known.filled.startsWith(filler + " ")) return known; // repeated: nothing is stored
        if (known.old.includes(`${filler} ${grant}`)) {
          throw new Error("A fill that began before an invalidation is refused");
        }
        if (known.filler !== `${filler} ${grant}`) throw new Error("Only the present grant fills");
        return { ...known, filled: `${filler} ${grant}`, filledAt: now, filler: "", until: 0 };
      }
      if (verb === "abandon") {
        return known.filler === `${filler} ${grant}` ? { ...known, filler: "", until: 0 } : known;
      }
      if (output.value !== undefined) {
        if (output.value !== known.filled) throw new Error("A hit is the last value that was filled");
        if (now >= known.filledAt + TTL) throw new Error("A value is not answered beyond its deadline");
      } else if (known.filled !== "" && now < known.filledAt + TTL) {
        throw new Error("A fresh value is answered");
      }
      if (output.grant === undefined) return known;
      const own = `${filler} ${output.grant}`;
      if (known.filler !== "" && !known.filler.startsWith(filler) && now < known.until) {
        throw new Error("While a filler's lease lasts no other is told to fill");
      }
      const granted = received ? including(known.granted, own) : known.granted;
      return { ...known, granted, filler: own, until: received ? now + LEASE : 0 };
    },
  },
  mutants: [
    ["record.filler === input.filler && record.grant === input.grant", "record.filler === input.filler"],
    ["output: {}, write: { record: undefined } }),", "output: {} }),"],
    ["      now < figure(record.leaseEnds)\n", "      now < figure(record.leaseEnds) - 5\n"],
    ["next.leaseEnds = String(now + figure(input.lease));", "next.leaseEnds = String(now);"],
    ["if (!holds(record, input)) {\n", "if (!holds(record, input) && record?.filler === undefined) {\n"],
    ["const freshUntil = now + figure(input.ttl);", "const freshUntil = now + figure(input.ttl) + 15;"],
    [`record !== undefined && record.filledBy === input.filler ? "1" : "0"`, `"1"`],
  ],
};
