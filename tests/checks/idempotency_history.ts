/**
 * Judges a history of idempotent work: what callers did and which results they got, on one monotonic clock.
 */

/** Engines' clocks count whole milliseconds, and are others than the witness's. */
const GRAIN = 5;

interface Call {
  readonly key: string;
  readonly owner: string;
  /** The times at which it was sent and answered: it took effect somewhere between. */
  readonly from: number;
  readonly to: number;
}

/** An event. A call whose answer never came has the state `fault`: it may have taken effect. */
export type CallEvent =
  | Call & {
    readonly op: "begin";
    readonly lease: number;
    readonly state: string;
    readonly attempt?: number;
    readonly response?: unknown;
  }
  | Call & { readonly op: "extend"; readonly lease: number; readonly state: "held" | "lost" | "fault" }
  | Call & { readonly op: "work" }
  | Call & {
    readonly op: "complete";
    readonly response: unknown;
    readonly state: string;
    readonly winner?: unknown;
  }
  | Call & { readonly op: "abandon"; readonly state: string }
  | { readonly op: "wipe"; readonly from: number; readonly to: number };

type Of<Op extends CallEvent["op"]> = Extract<CallEvent, { op: Op }>;

/** Every broken promise, as a sentence; none is what it should answer. */
export function idempotencyViolations(events: readonly CallEvent[]): string[] {
  const broken: string[] = [];
  const wipes = events.filter((event): event is Of<"wipe"> => event.op === "wipe");
  const keys = new Set(events.flatMap((event) => "key" in event ? [event.key] : []));
  for (const key of keys) {
    const mine = events.filter((event): event is Exclude<CallEvent, Of<"wipe">> =>
      "key" in event && event.key === key
    );
    broken.push(...judge(mine, wipes).map((sentence) => `${key}: ${sentence}`));
  }
  return broken;
}

function judge(events: readonly Exclude<CallEvent, Of<"wipe">>[], wipes: readonly Of<"wipe">[]): string[] {
  const broken: string[] = [];
  const all = <Op extends CallEvent["op"]>(op: Op) =>
    events.filter((event) => event.op === op) as unknown as Of<Op>[];
  const grants = all("begin").filter(({ state }) => state === "new").sort((a, b) => a.to - b.to);
  const owners = new Set(grants.map(({ owner }) => owner));
  const seen = new Set<string>();
  for (const { owner } of all("work")) {
    if (seen.has(owner)) broken.push("one claim was worked on twice");
    if (!owners.has(owner)) broken.push("a caller worked without a claim");
    seen.add(owner);
  }

  const wipedBetween = (a: number, b: number) => wipes.some(({ from, to }) => from <= b && to >= a);
  for (const [i, later] of grants.entries()) {
    for (const earlier of grants.slice(0, i)) {
      if (earlier.owner === later.owner || earlier.to > later.from) continue; // the same claim, or it is unknown which was first
      if (wipedBetween(earlier.from, later.to)) continue;
      const left = [...all("abandon"), ...all("complete")].some((call) =>
        call.owner === earlier.owner && call.from <= later.to
      );
      if (left) continue;
      const kept = [earlier, ...all("extend").filter(({ state }) => state === "held")];
      const held = kept.filter(({ owner, to }) => owner === earlier.owner && to <= later.from);
      if (held.some(({ from, lease }) => later.to < from + lease - GRAIN)) {
        broken.push("a claim was taken over before its lease was over");
      }
      // A claim that was given back, or may have been, takes the count of attempts along.
      const restarted = [...all("abandon"), ...all("begin").filter(({ state }) => state === "fault")]
        .some(({ from }) => from >= earlier.from && from <= later.to);
      if (!restarted && !(later.attempt! > earlier.attempt!)) broken.push("a takeover was no later attempt");
    }
  }

  // The answers, by the life of the database that gave them; a call that spans a wipe belongs to neither.
  const lives = (call: Call) =>
    wipedBetween(call.from, call.to) ? undefined : wipes.filter(({ to }) => to < call.from).length;
  const answers = new Map<number, Set<string>>();
  const answer = (call: Call, response: unknown) => {
    const life = lives(call);
    if (life === undefined) return;
    answers.set(life, (answers.get(life) ?? new Set()).add(JSON.stringify(response)));
  };
  for (const call of all("begin")) if (call.state === "completed") answer(call, call.response);
  for (const call of all("complete")) {
    if (call.state === "stored") answer(call, call.response);
    if (call.winner !== undefined) answer(call, call.winner);
  }
  const offered = new Set(all("complete").map(({ response }) => JSON.stringify(response)));
  for (const told of answers.values()) {
    if (told.size > 1) broken.push("callers got different answers");
    for (const response of told) {
      if (!offered.has(response)) broken.push("callers got an answer that no work gave");
    }
  }
  return broken;
}
