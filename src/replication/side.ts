/** A store that replication talks to: each request has a deadline, passes a circuit, and is measured. */
import type { Clock } from "../clock.ts";
import { HoldfastError } from "../errors.ts";
import { faultClass } from "../fault_class.ts";
import { Circuit, CircuitOpenError } from "./circuit.ts";
import { NotReplicatedError } from "./not_replicated_error.ts";
import type { ReplicationFaultContext, ReplicationOperation } from "./replicated_sessions.ts";

/**
 * The time after an outage during which a side's answers need the other side's confirmation, in
 * milliseconds.
 */
const STEADY_MS = 600_000;

/** Options of {@linkcode Side}. */
export interface SideOptions {
  readonly clock: Clock;
  readonly random: () => number;
  /** The time a request may take, in milliseconds. */
  readonly timeout: number;
  readonly report: (
    operation: Pick<ReplicationOperation, "operation" | "side" | "outcome" | "durationMs">,
  ) => void;
  readonly onFault: (error: unknown, context: ReplicationFaultContext) => void;
}

/** Options of one request. */
export interface AskOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called when a request that was given up settles after all: its effect may have come late. */
  readonly late?: (() => void) | undefined;
}

export class Side<Store> {
  readonly name: ReplicationOperation["side"];
  readonly #store: Store;
  readonly #options: SideOptions;
  readonly #circuit: Circuit;
  /** The last outage, reported when it opens the circuit. */
  #outage: unknown;

  constructor(name: ReplicationOperation["side"], store: Store, options: SideOptions) {
    this.name = name;
    this.#store = store;
    this.#options = options;
    this.#circuit = new Circuit(name, options.clock, options.random, (state) => {
      options.report({ operation: "circuit", side: name, outcome: state, durationMs: 0 });
      if (state === "open") options.onFault(this.#outage, { side: name, operation: "circuit" });
    });
  }

  /** True if it answered lately, as far as it was asked. */
  get isUp(): boolean {
    return this.#circuit.isClosed;
  }

  /**
   * True if it had no outage for so long that it can be trusted alone: a store that was away may have
   * restarted empty, or been set back to an older state.
   */
  get isSteady(): boolean {
    return this.#circuit.closedFor(STEADY_MS);
  }

  /** Throws when the circuit would refuse a request. */
  assertAsks(): void {
    this.#circuit.assertPasses();
  }

  /**
   * Calls the side, and rejects when the answer does not come in time. A request that was given up may still
   * take effect, at any time.
   *
   * @throws {HoldfastError} `timeout`, which is ambiguous; the store's own error; `backend-unavailable` while
   * the circuit is open
   */
  async call<T>(
    operation: ReplicationOperation["operation"],
    ask: (store: Store, signal: AbortSignal) => Promise<T>,
    { signal, late }: AskOptions = {},
  ): Promise<T> {
    signal?.throwIfAborted();
    const { clock, report } = this.#options;
    try {
      this.#circuit.enter();
    } catch (error) {
      report({ operation, side: this.name, outcome: "refused", durationMs: 0 });
      throw error;
    }
    const started = clock.monotonic();
    const giveUp = new AbortController();
    const timer = new AbortController();
    const interrupt = () => giveUp.abort(signal!.reason);
    signal?.addEventListener("abort", interrupt, { once: true });
    let outcome: ReplicationOperation["outcome"] = "error";
    clock.sleep(this.#options.timeout, timer.signal).then(() => {
      outcome = "timeout";
      giveUp.abort(this.#timeout());
    }, () => {});
    // Inside an async function, since a store may also throw before it returns a promise.
    const work = (async () => await ask(this.#store, giveUp.signal))();
    try {
      const answer = await givenUp(work, giveUp.signal);
      this.#circuit.succeeded();
      outcome = "ok";
      return answer;
    } catch (error) {
      if (giveUp.signal.aborted && late !== undefined) work.then(late, late);
      this.#failed(operation, error, signal?.aborted ?? false);
      throw error;
    } finally {
      timer.abort();
      signal?.removeEventListener("abort", interrupt);
      report({ operation, side: this.name, outcome, durationMs: clock.monotonic() - started });
    }
  }

  #failed(operation: ReplicationOperation["operation"], error: unknown, aborted: boolean): void {
    // A caller that went away says nothing about the store, unless it was the probe that others wait for.
    if (aborted && this.#circuit.isClosed) return;
    if (!aborted && faultClass(error) !== "outage") {
      this.#options.onFault(error, { side: this.name, operation });
    }
    // A store that refuses a request is there.
    if (isPermanent(error)) return this.#circuit.succeeded();
    this.#outage = error;
    this.#circuit.failed();
  }

  #timeout(): HoldfastError {
    return new HoldfastError(
      "timeout",
      `Cannot wait longer than ${this.#options.timeout} ms for the ${this.name}`,
      { retryable: true, ambiguous: true },
    );
  }
}

/** The work's result, or the signal's reason when that comes first. */
function givenUp<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    work.then(resolve, reject);
  });
}

/** Whether repeating the call cannot help: a misconfiguration, bad input, a refusal. */
export function isPermanent(error: unknown): boolean {
  if (error instanceof NotReplicatedError) return true;
  if (faultClass(error) === "misconfiguration") return true;
  if (error instanceof HoldfastError) return !error.retryable && !error.ambiguous;
  return error instanceof TypeError || error instanceof RangeError;
}

/** Whether a call that failed may have taken effect all the same. */
export function mayHaveHappened(error: unknown): boolean {
  if (error instanceof CircuitOpenError) return false;
  return error instanceof HoldfastError ? error.ambiguous : !isPermanent(error);
}
