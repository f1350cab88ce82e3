import { idempotencyTransitions } from "@holdfast/edge/engine";
import { CALLERS, including, type Subject } from "./_subject.ts";

const LEASE = 10;

interface Known {
  /** The owners that were granted a claim. */
  readonly claimants: readonly string[];
  /** Of the latest claimant: until when its lease lasts. */
  readonly leases: Readonly<Record<string, number>>;
  readonly abandoned: readonly string[];
  readonly stored: string;
}

/** Idempotency: three owners claim one key, and complete or abandon their claims. */
export const idempotency: Subject<Known> = {
  name: "idempotency",
  transitions: idempotencyTransitions,
  path: "src/idempotency/idempotency_transitions.ts",
  scenario: {
    begin: { claimants: [], leases: {}, abandoned: [], stored: "" },
    steps: [5, 10, -3],
    call(name) {
      const [verb, owner] = name.split(" ") as [string, string];
      const claim = { owner, claim: `1${owner}` };
      if (verb === "abandon") return { transition: "idempotency.abandon", input: claim };
      return verb === "begin"
        ? { transition: "idempotency.begin", input: { ...claim, lease: String(LEASE), retention: "7" } }
        : {
          transition: "idempotency.complete",
          input: { ...claim, response: owner, attempt: "1", retention: "1000" },
        };
    },
    sendable: ({ known, sent }) => [
      ...CALLERS.map((owner) => `begin ${owner}`),
      // A claimant either completes or gives up.
      ...known.claimants.flatMap((owner) =>
        [["complete", "abandon"], ["abandon", "complete"]]
          .filter(([, other]) => !sent.includes(`${other} ${owner}`)).map(([verb]) => `${verb} ${owner}`)
      ),
    ],
    learn(name, output, received, { known, now, sent }) {
      const [verb, owner] = name.split(" ") as [string, string];
      if (output.state === "done" || output.state === "superseded") {
        if (known.stored === "") throw new Error("An answer that is there was stored by a claimant");
        if (output.response !== known.stored) throw new Error("A stored answer never changes");
        return known;
      }
      if (verb === "complete" && output.state === "stored") {
        if (known.stored !== "" && known.stored !== owner) throw new Error("One answer is stored");
        return { ...known, stored: owner };
      }
      if (verb === "abandon" && output.state === "free") {
        if (known.stored !== "") throw new Error("A stored answer is never given up");
        return { ...known, abandoned: including(known.abandoned, owner) };
      }
      if (verb !== "begin" || output.state !== "new") return known;
      if (known.stored !== "") throw new Error("After an answer was stored no claim is granted");
      const others = CALLERS.filter((other) => other !== owner && !sent.includes(`abandon ${other}`));
      if (others.some((other) => now < (known.leases[other] ?? 0))) {
        throw new Error("While a claimant's lease lasts no other claim is granted");
      }
      // A late copy after another claimant came and went may be granted, to a caller that listens no more; see the file.
      if (known.claimants.length === 1 && known.abandoned[0] === owner) {
        throw new Error("A claim that was given up is not granted to its own late copy");
      }
      const lease = received ? Math.max(known.leases[owner] ?? 0, now + LEASE) : known.leases[owner] ?? 0;
      return { ...known, claimants: including(known.claimants, owner), leases: { [owner]: lease } };
    },
  },
  mutants: [
    [
      "if (record.owner !== owner && now < leaseEnds) {",
      "if (record.owner !== owner && now < leaseEnds - 5) {",
    ],
    [
      `if (record.state === "done") return { output: done(record) };\n      const leaseEnds`,
      "const leaseEnds",
    ],
    [
      `      if (record.owner === owner && record.claim === claim) return { output: { state: "abandoned" } };`,
      "",
    ],
    ["if (retentionEnds < leaseEnds) retentionEnds = leaseEnds;", ""],
    ["retentionEnds: String(now + figure(retention)),", "retentionEnds: String(now),"],
    [`        if (record.state === "pending") return { output: { state: "overtaken" } };`, ""],
  ],
};
