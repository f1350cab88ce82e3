/** A store that replication talks to: asked with a deadline, behind its circuit, every call measured. */
import type { Clock } from "../clock.ts";
import { HoldfastError } from "../errors.ts";
import { Circuit, CircuitOpenError } from "./_circuit.ts";
import { NotReplicatedError } from "./replicated_error.ts";
import type { ReplicationOperation } from "./replicated_sessions.ts";

/** What a side needs besides its store. */
export interface SideOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly timeout: number;
  readonly report: (
    operation: Pick<ReplicationOperation, "operation" | "side" | "outcome" | "durationMs">,
  ) => void;
}

export class Side<Store> {
  readonly name: ReplicationOperation["side"];
  readonly #store: Store;
  readonly #options: SideOptions;
  readonly #circuit: Circuit;

  constructor(name: ReplicationOperation["side"], store: Store, options: SideOptions) {
    this.name = name;
    this.#store = store;
    this.#options = options;
    this.#circuit = new Circuit(name, options.clock, options.random, (state) => {
      options.report({ operation: "circuit", side: name, outcome: state, durationMs: 0 });
    });
  }

  /** Whether it answered lately, as far as anybody asked. */
  get isUp(): boolean {
    return this.#circuit.isClosed;
  }

  /** Throws when the circuit would refuse a call. */
  assertAsks(): void {
    this.#circuit.assertPasses();
  }

  /** Asks; rejects when the answer does not come in time. What it gave up may still take effect. */
  async call<T>(
    operation: ReplicationOperation["operation"],
    ask: (store: Store, signal: AbortSignal) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    signal?.throwIfAborted();
    const { clock, report, timeout } = this.#options;
    this.#circuit.enter();
    const started = clock.monotonic();
    const giveUp = new AbortController();
    const bell = new AbortController();
    let outcome: ReplicationOperation["outcome"] = "error";
    const interrupt = () => giveUp.abort(signal!.reason);
    signal?.addEventListener("abort", interrupt, { once: true });
    const given = new Promise<never>((_, reject) => {
      giveUp.signal.addEventListener("abort", () => reject(giveUp.signal.reason), { once: true });
    });
    clock.sleep(timeout, bell.signal).then(() => {
      outcome = "timeout";
      giveUp.abort(
        new HoldfastError("timeout", `Cannot wait longer than ${timeout} ms for the ${this.name}`, {
          retryable: true,
          ambiguous: true,
        }),
      );
    }, () => {});
    try {
      const answer = await Promise.race([ask(this.#store, giveUp.signal), given]);
      this.#circuit.succeeded();
      outcome = "ok";
      return answer;
    } catch (error) {
      // Refusing bad input says nothing against the backend, and a caller that went away nothing at all.
      if (isPermanent(error)) this.#circuit.succeeded();
      else if (!signal?.aborted || !this.#circuit.isClosed) this.#circuit.failed();
      throw error;
    } finally {
      bell.abort();
      signal?.removeEventListener("abort", interrupt);
      report({ operation, side: this.name, outcome, durationMs: clock.monotonic() - started });
    }
  }
}

/** Whether repeating the call cannot help. */
export function isPermanent(error: unknown): boolean {
  if (error instanceof NotReplicatedError) return true;
  if (error instanceof HoldfastError) return !error.retryable && !error.ambiguous;
  return error instanceof TypeError || error instanceof RangeError;
}

/** Whether a call that failed may have taken effect all the same. */
export function mayHaveHappened(error: unknown): boolean {
  if (error instanceof CircuitOpenError) return false;
  return error instanceof HoldfastError ? error.ambiguous : !isPermanent(error);
}
