import { throttleTransitions } from "@holdfast/edge/engine";
import { BEGIN } from "./_explore.ts";
import { including, type Subject } from "./_subject.ts";

const WINDOW = 10;
const LIMIT = 2;
const CALLS = ["a1", "a2", "b1", "b2", "c1"];

interface Known {
  readonly admitted: readonly string[];
  /** The number admitted in the window of the latest time. */
  readonly inWindow: number;
  /** The earliest and the latest time at which a call was decided. */
  readonly earliest: number;
  readonly latest: number;
  /** Whether the clock stepped back in front of a call. */
  readonly back: boolean;
  /** From when on a call is admitted, as a denied one was told; 0 if none was, or another was admitted since. */
  readonly promised: number;
}

function throttle(kind: "fixed" | "sliding" | "gcra", mutants: Subject<Known>["mutants"]): Subject<Known> {
  const policy0 = kind === "gcra" ? `gcra:${WINDOW}:${LIMIT}:${LIMIT}:x` : `${kind}:${WINDOW}:${LIMIT}:x`;
  /** The most calls that may be admitted from the first time to the second. */
  const most = (from: number, to: number) =>
    kind === "gcra"
      ? LIMIT + Math.floor((to - from) * LIMIT / WINDOW)
      : LIMIT * (Math.floor(to / WINDOW) - Math.floor(from / WINDOW) + 1);
  return {
    name: `throttle, ${kind}`,
    transitions: throttleTransitions,
    path: "src/throttle/throttle_transitions.ts",
    scenario: {
      begin: { admitted: [], inWindow: 0, earliest: BEGIN, latest: BEGIN, back: false, promised: 0 },
      steps: [4, 10, -3],
      call: (name) => ({ transition: "throttle.check", input: { cost: "1", call: name, policy0 } }),
      sent: CALLS,
      sendable: () => [],
      learn(name, output, received, { known, now }) {
        const back = known.back || now < known.latest;
        const [earliest, latest] = [Math.min(known.earliest, now), Math.max(known.latest, now)];
        const began = Math.floor(latest / WINDOW) !== Math.floor(known.latest / WINDOW);
        const inWindow = began ? 0 : known.inWindow;
        const [remaining, , , retry] = output.policy0!.split(":").map(Number) as [
          number,
          number,
          number,
          number,
        ];
        const allowed = output.allowed === "1";
        if (known.admitted.includes(name)) {
          if (!allowed) throw new Error("A copy of a call that was admitted is answered as admitted");
          return { ...known, back, earliest, latest, inWindow };
        }
        if (!allowed) {
          if (!back && known.promised > 0 && now >= known.promised) {
            throw new Error("A call that waits as long as a denied one was told is admitted");
          }
          if (retry <= 0) throw new Error("A call that is denied is told when to come again");
          return {
            ...known,
            back,
            earliest,
            latest,
            inWindow,
            promised: received ? now + retry : known.promised,
          };
        }
        const admitted = including(known.admitted, name);
        if (admitted.length > most(earliest, latest)) {
          throw new Error("No more calls are admitted than the policy lets");
        }
        if (kind === "fixed" && !back && remaining !== LIMIT - inWindow - 1) {
          throw new Error("What remains is the limit without the calls that were admitted in the window");
        }
        return { admitted, inWindow: inWindow + 1, earliest, latest, back, promised: 0 };
      },
    },
    mutants,
  };
}

/** Throttles: five calls of three callers at one key, with each algorithm. */
export const throttles: readonly Subject<Known>[] = [
  throttle("fixed", [
    ["  if (room >= used) {", "  if (room >= used - 1) {"],
    [
      "const takes = fits && cost !== 0 && !repeated && !reads;",
      "const takes = fits && cost !== 0 && !reads;",
    ],
    [`allowed: fits || repeated ? "1" : "0"`, `allowed: fits ? "1" : "0"`],
    ["} else if (counter.since < start) {", "} else if (counter.since !== start) {"],
    ["return window - elapsed + weighed;", "return window - elapsed + weighed - 1;"],
    ["const used = counter.used + cost;", "const used = counter.used;"],
  ]),
  throttle("sliding", [
    [
      `counter.earlier = kind === "sliding" && counter.since === start - window ? counter.used : 0;`,
      "counter.earlier = counter.used;",
    ],
    ["  if (room >= used) {", "  if (room >= used - 1) {"],
  ]),
  throttle("gcra", [
    [
      "const missing = counter.used + units - capacity;",
      "const missing = counter.used + units - capacity - 1;",
    ],
    ["const used = counter.used - windows * limit;", "const used = counter.used - (windows + 1) * limit;"],
    [
      "Math.max(0, scale(missing, window, limit, true) - elapsed);",
      "Math.max(0, scale(missing, window, limit, true) - elapsed - 1);",
    ],
  ]),
];
