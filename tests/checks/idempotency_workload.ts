/** Clients that claim, work, crash, come late and give up on a few keys, and the results they got. */
import { type AtomicStore, type Claim, createIdempotency, HoldfastError } from "@holdfast/edge";
import type { Random } from "../support/random.ts";
import type { CallEvent } from "./idempotency_history.ts";

/** Options of {@linkcode idempotencyWorkload}. */
export interface WorkloadOptions {
  readonly clients: number;
  readonly rounds: number;
  readonly keys: number;
  readonly lease: number;
  /** Forgets everything in the database; called once, half way. */
  readonly wipe?: () => Promise<unknown>;
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Runs it; `open` gives each client a store of its own. */
export async function idempotencyWorkload(
  open: () => AtomicStore,
  random: Random,
  { clients, rounds, keys, lease, wipe }: WorkloadOptions,
): Promise<CallEvent[]> {
  const events: CallEvent[] = [];
  let done = 0;
  let wiped = wipe === undefined;

  async function client(id: number): Promise<void> {
    const idempotency = createIdempotency(open(), { lease, retention: "1h" });
    for (let round = 0; round < rounds; round++) {
      const key = `key-${Math.floor(round * keys / rounds)}`;
      const owner = `${id}.${round}`;
      await attempt(idempotency, key, owner).catch((error) => {
        if (!(error instanceof HoldfastError)) throw error;
      });
      await pause(random.below(lease / 2));
      if (!wiped && ++done >= clients * rounds / 2) {
        wiped = true;
        const from = performance.now();
        await wipe!();
        events.push({ op: "wipe", from, to: performance.now() });
      }
    }
  }

  /** Notes a call with its answer, or that it has none. */
  async function noted<T>(
    call: () => Promise<T>,
    note: (answer: T | undefined, times: { from: number; to: number }) => CallEvent,
  ): Promise<T> {
    const from = performance.now();
    try {
      const answer = await call();
      events.push(note(answer, { from, to: performance.now() }));
      return answer;
    } catch (error) {
      events.push(note(undefined, { from, to: performance.now() }));
      throw error;
    }
  }

  async function attempt(
    idempotency: ReturnType<typeof createIdempotency>,
    key: string,
    owner: string,
  ): Promise<void> {
    const begun = await noted(() => idempotency.begin(key, { owner }), (answer, times) => ({
      op: "begin",
      key,
      owner,
      lease,
      ...times,
      state: answer?.state ?? "fault",
      ...(answer?.state === "new" && { attempt: answer.claim.attempt }),
      ...(answer?.state === "completed" && { response: answer.response }),
    }));
    if (begun.state !== "new") return;
    const from = performance.now();
    const fate = random.pick(["crash", "crash", "late", "late", "abandon", "complete", "extend"]);
    await pause(random.below(lease / 4));
    events.push({ op: "work", key, owner, from, to: performance.now() });
    if (fate === "crash") return;
    if (fate === "abandon") return await abandon(idempotency, begun.claim);
    if (fate === "late") await pause(lease + random.below(lease));
    if (fate === "extend") {
      for (let i = 0; i < 4; i++) {
        await pause(lease / 2);
        const held = await noted(() => idempotency.extend(begun.claim), (answer, times) => ({
          op: "extend",
          key,
          owner,
          lease,
          ...times,
          state: answer === undefined ? "fault" : answer ? "held" : "lost",
        }));
        if (!held) return;
      }
    }
    const response = { by: owner };
    await noted(() => idempotency.complete(begun.claim, response), (answer, times) => ({
      op: "complete",
      key,
      owner,
      response,
      ...times,
      state: answer?.state ?? "fault",
      ...(answer?.state === "superseded" && answer.completed && { winner: answer.response }),
    }));
  }

  async function abandon(idempotency: ReturnType<typeof createIdempotency>, claim: Claim): Promise<void> {
    await noted(() => idempotency.abandon(claim), (answer, times) => ({
      op: "abandon",
      key: claim.key,
      owner: claim.owner,
      ...times,
      state: answer === undefined ? "fault" : String(answer),
    }));
  }

  await Promise.all(Array.from({ length: clients }, (_, id) => client(id)));
  return events;
}
