import { sessionTransitions } from "@holdfast/edge/engine";
import type { Fields } from "@holdfast/edge/engine";
import { including, type Subject } from "./_subject.ts";

const IDLE = 20;
const LIFE = 30;
const KEEP = { keep: "1000" };

interface Known {
  /** The times of its creation and of its last touch; 0 before. */
  readonly born: number;
  readonly touched: number;
  readonly ended: boolean;
  /** The values that were stored. */
  readonly stored: readonly string[];
  /** The replacement of the first version that was done. */
  readonly replaced: string;
}

const CALLS: Readonly<Record<string, { readonly transition: string; readonly input: Fields }>> = {
  create: {
    transition: "session.create",
    input: { ...KEEP, handle: "handle", idle: String(IDLE), life: String(LIFE), schema: "1" },
  },
  load: { transition: "session.load", input: {} },
  "commit a": { transition: "session.commit", input: { ...KEEP, "d:a": "1" } },
  "commit b": { transition: "session.commit", input: { ...KEEP, "d:b": "1" } },
  "replace a": { transition: "session.replace", input: { ...KEEP, expected: "1", "d:ra": "1" } },
  "replace b": { transition: "session.replace", input: { ...KEEP, expected: "1", "d:rb": "1" } },
  end: { transition: "session.end", input: { ...KEEP, why: "revoked", bury: "1" } },
};
const VALUES: Readonly<Record<string, string>> = {
  "commit a": "d:a",
  "commit b": "d:b",
  "replace a": "d:ra",
  "replace b": "d:rb",
};

/** A session: two requests that write, two that replace a version, a logout. */
export const session: Subject<Known> = {
  name: "session",
  transitions: sessionTransitions,
  path: "src/session/session_transitions.ts",
  scenario: {
    begin: { born: 0, touched: 0, ended: false, stored: [], replaced: "" },
    steps: [10, 15, -3],
    call: (name) => CALLS[name]!,
    sent: Object.keys(CALLS),
    sendable: () => [],
    learn(name, output, _received, { known, now }) {
      // One that is over already is left as it is.
      const over = known.born > 0 && (now >= known.born + LIFE || now >= known.touched + IDLE);
      if (name === "end") return { ...known, ended: known.ended || !over };
      const shown = output.handle !== undefined && output.why === undefined;
      if (!shown) return known;
      if (known.ended) throw new Error("A session that was ended is never shown again");
      if (known.born > 0 && now >= known.born + LIFE) {
        throw new Error("No session outlives its absolute timeout");
      }
      if (known.born > 0 && now >= known.touched + IDLE) {
        throw new Error("A session that was idle for too long is over");
      }
      const done = output.done === "1";
      const wrote = done && VALUES[name] !== undefined;
      const stored = wrote ? including(known.stored, VALUES[name]!) : known.stored;
      if (stored.some((field) => output[field] === undefined)) {
        throw new Error("Requests that write beside each other keep each other's values");
      }
      let { replaced } = known;
      if (done && name.startsWith("replace")) {
        if (replaced !== "") throw new Error("Of two replacements of one version one is done");
        replaced = name;
      }
      const born = known.born === 0 && name === "create" ? now : known.born;
      const touched = wrote || born !== known.born ? Math.max(known.touched, now) : known.touched;
      return { born, touched, ended: false, stored, replaced };
    },
  },
  mutants: [
    [
      "if (record.why === undefined) return now < expiry(record)",
      "if (record.why === undefined) return now < expiry(record) + 5",
    ],
    [
      "Math.min(int(record.touched) + int(record.idle), int(record.ends))",
      "int(record.touched) + int(record.idle)",
    ],
    [
      "  const next: Record<string, string> = { ...known };\n  setValues",
      "  const next: Record<string, string> = { handle: known.handle!, version: known.version!, idle: known.idle!, ends: known.ends!, touched: known.touched!, schema: known.schema! };\n  setValues",
    ],
    [
      `(input.expected !== undefined && input.expected !== known.version)`,
      `(input.expected !== undefined && int(input.expected) > int(known.version))`,
    ],
    [
      "(ended.why !== undefined || input.bury === undefined)",
      "(ended.why !== undefined || input.bury !== undefined)",
    ],
    [
      "  next.version = String(int(known.version) + 1);\n  next.touched",
      "  next.version = known.version!;\n  next.touched",
    ],
  ],
};
