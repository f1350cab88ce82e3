import { outboxTransitions } from "@holdfast/edge/engine";
import { CALLERS, including, type Subject } from "./_subject.ts";

const LEASE = 10;

interface Known {
  /**
   * The items given to drainers: `a 1 0`, the owner, the number of the attempt, and the last one that is
   * certain.
   */
  readonly leased: readonly string[];
  /** The drainer that has the item, and until when. */
  readonly holder: string;
  readonly until: number;
  /** The number of the attempt that began last, and its owner. */
  readonly began: number;
  readonly beganBy: string;
  readonly delivered: boolean;
}

/** An outbox: one item, and three drainers that claim and deliver it. */
export const outbox: Subject<Known> = {
  name: "outbox",
  transitions: outboxTransitions,
  path: "src/outbox/outbox_transitions.ts",
  scenario: {
    begin: { leased: [], holder: "", until: 0, began: 0, beganBy: "", delivered: false },
    before: ["put", "add"],
    steps: [5, 10, -3],
    call(name) {
      const [verb, owner = "", a = "", k = ""] = name.split(" ");
      const due = { due: "0", keep: "1000000" };
      if (verb === "put") {
        return {
          transition: "outbox.put",
          key: "item",
          input: { fingerprint: "f", key: "k", body: "content", ...due },
        };
      }
      if (verb === "add") {
        return { transition: "outbox.add", key: "bucket", input: { id: "i", most: "5", ...due } };
      }
      if (verb === "claim") {
        return {
          transition: "outbox.claim",
          key: "bucket",
          input: { owner, limit: "1", lease: String(LEASE) },
        };
      }
      if (verb === "begin") {
        return { transition: "outbox.begin", key: "item", input: { owner, attempt: a, known: k, hold: "0" } };
      }
      if (verb === "sent") {
        return { transition: "outbox.sent", key: "item", input: { fingerprint: "f", remember: "1000000" } };
      }
      const to = verb === "retry" ? { to: "w", known: "1" } : { to: "gone", known: "0" };
      return {
        transition: "outbox.settle",
        key: "bucket",
        input: { id: "i", owner, delay: "0", code: "", ...to },
      };
    },
    sendable: ({ known, sent }) => [
      ...CALLERS.map((owner) => `claim ${owner}`),
      ...known.leased.map((lease) => `begin ${lease}`),
      // A drainer whose attempt began delivers, or fails and tries again.
      ...(known.beganBy === "" ? [] : [`sent ${known.beganBy}`]),
      ...CALLERS.filter((owner) => sent.includes(`sent ${owner}`)).map((owner) => `settle ${owner}`),
      ...(known.beganBy === "" || sent.includes(`sent ${known.beganBy}`) ? [] : [`retry ${known.beganBy}`]),
    ],
    learn(name, output, received, { known, now }) {
      const [verb, owner = "", a = ""] = name.split(" ");
      if (verb === "sent") return { ...known, delivered: true };
      if (verb === "retry" || verb === "settle") {
        return known.holder === owner && output.done === "1" ? { ...known, holder: "", until: 0 } : known;
      }
      if (verb === "claim") {
        const given = output["m:i"];
        if (given === undefined) return known;
        if (known.holder !== "" && known.holder !== owner && now < known.until) {
          throw new Error("While a drainer's lease lasts no other is given the item");
        }
        const [attempt, certain] = given.split(":");
        const leased = received ? including(known.leased, `${owner} ${attempt} ${certain}`) : known.leased;
        const until = known.holder === owner ? known.until : now + LEASE;
        return { ...known, leased, holder: owner, until };
      }
      if (verb !== "begin" || output.state !== "go") return known;
      if (known.delivered) throw new Error("After an item was delivered no attempt begins");
      if (Number(a) < known.began) throw new Error("An attempt that a later one overtook never begins");
      if (Number(a) === known.began && owner !== known.beganBy) throw new Error("An attempt has one drainer");
      return { ...known, began: Number(a), beganBy: owner };
    },
  },
  mutants: [
    [`if (record.state === "sent") return { output: { state: "sent" } };\n    const begun`, "const begun"],
    [`if (begun >= Number(attempt) && !again) return { output: { state: "stale" } };`, ""],
    [
      "if (now >= entry.time) due.push({ id, entry });",
      "if (now >= entry.time - 5) due.push({ id, entry });",
    ],
    [
      "const again = begun === Number(attempt) && record.owner === owner;",
      "const again = begun >= Number(attempt);",
    ],
    ["const time = now + Number(lease);", "const time = now;"],
  ],
};
