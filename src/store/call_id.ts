/**
 * Names for calls that are repeated. A copy that a client or a runtime sends by itself is known to an engine;
 * a repetition by a contract, after a reply was lost, is a new call to it unless both have the same name.
 */
import type { Clock } from "../clock.ts";
import { randomToken } from "../secret.ts";
import type { TransactOptions } from "./atomic_store.ts";
import type { CallOptions } from "./key_value_store.ts";

/** A symbol, so that options which are checked for unknown names may carry it. */
const CALL_ID: unique symbol = Symbol("holdfast.call-id");

/** The name of a call, which is drawn when an engine asks for it: most do not. */
interface CallName {
  name: string | undefined;
}

/** Call options with a name. */
interface NamedCall extends TransactOptions {
  [CALL_ID]?: CallName;
}

// Property by property: a spread and a computed name in a literal cost more than the call itself.
function named(id: CallName, options: TransactOptions | undefined): NamedCall {
  const call: NamedCall = { signal: options?.signal, onVersion: options?.onVersion };
  call[CALL_ID] = id;
  return call;
}

/**
 * Options for all attempts of one `transact`: an engine that remembers replies answers a repetition with the
 * first reply for a minute, whatever happened in between. Other engines run the transition again.
 */
export function repeatable(options?: CallOptions): CallOptions {
  return named({ name: undefined }, options);
}

/** The name of a call, if it has one. */
export function callIdOf(options: NamedCall | undefined): string | undefined {
  const id = options?.[CALL_ID];
  return id && (id.name ??= randomToken(12));
}

/**
 * The attempts of one call that gets a lease. An attempt may be answered with the reply to the first of its
 * name, and the lease began then. So all that matters is when the first was sent; once half of the lease is
 * over, the next attempt gets another name and runs again, which grants the same owner a whole lease.
 */
export class LeaseCall {
  readonly #clock: Clock;
  readonly #length: number;
  #id: CallName | undefined;
  #sentAt: number | undefined;

  /** Begins a call for a lease of `length` milliseconds. */
  constructor(clock: Clock, length: number) {
    this.#clock = clock;
    this.#length = length;
  }

  /** The monotonic time that the lease began no earlier than; `undefined` before the first attempt. */
  get sentAt(): number | undefined {
    return this.#sentAt;
  }

  /** The options of the next attempt, which is sent now. */
  attempt(options?: TransactOptions): TransactOptions {
    const now = this.#clock.monotonic();
    if (this.#id === undefined || now - this.#sentAt! > this.#length / 2) {
      this.#id = { name: undefined };
      this.#sentAt = now;
    }
    return named(this.#id, options);
  }
}
