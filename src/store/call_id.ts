/**
 * Names for calls that are repeated. A copy that a client or a runtime sends by itself is known to an engine;
 * a repetition by a contract, after a reply was lost, is a new call to it unless both have the same name.
 */
import { randomToken } from "../secret.ts";
import type { CallOptions } from "./key_value_store.ts";

/** A symbol, so that options which are checked for unknown names may carry it. */
const CALL_ID: unique symbol = Symbol("holdfast.call-id");

/** Call options with a name. */
interface NamedCall extends CallOptions {
  readonly [CALL_ID]?: string;
}

/**
 * Options for all attempts of one `transact`: an engine that remembers replies answers a repetition with the
 * first reply for a minute, whatever happened in between. Other engines run the transition again.
 */
export function repeatable(options: CallOptions = {}): CallOptions {
  const named: NamedCall = { ...options, [CALL_ID]: randomToken(12) };
  return named;
}

/** The name of a call, if it has one. */
export function callIdOf(options: NamedCall | undefined): string | undefined {
  return options?.[CALL_ID];
}
