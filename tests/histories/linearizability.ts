/**
 * A checker of linearizability after Wing and Gong, with Lowe's memory of configurations: a history is
 * linearizable when its operations can be put in one order that respects real time and that the model
 * explains.
 *
 * @see https://www.cs.ox.ac.uk/people/gavin.lowe/LinearizabiltyTesting/
 */

/** An operation of a history. */
export interface Operation<In, Out> {
  /** The client that called it. */
  readonly client: number;
  /** Its arguments. */
  readonly input: In;
  /** Its result; `undefined` when the call is in doubt. */
  readonly output: Out | undefined;
  /** The time of the call, on a clock that all clients share. */
  readonly called: number;
  /**
   * The time of its return. A call in doubt may take effect at any time after `called`, or never: `Infinity`.
   */
  readonly returned: number;
}

/** A sequential specification. */
export interface Model<State, In, Out> {
  readonly initial: State;
  /**
   * The next state; `undefined` when the output cannot be that of this state. An undefined output is unknown.
   */
  step(state: State, input: In, output: Out | undefined): State | undefined;
}

/**
 * Tells whether the history is linearizable. States must be plain data.
 *
 * @throws {RangeError} for more than 60 operations
 */
export function isLinearizable<State, In, Out>(
  model: Model<State, In, Out>,
  history: readonly Operation<In, Out>[],
): boolean {
  if (history.length > 60) throw new RangeError("a history has at most 60 operations");
  const required = history.reduce(
    (bits, { returned }, i) => returned === Infinity ? bits : bits | 1n << BigInt(i),
    0n,
  );
  const seen = new Set<string>();
  const search = (done: bigint, state: State): boolean => {
    if ((done & required) === required) return true; // calls in doubt may never have taken effect
    const configuration = `${done} ${JSON.stringify(state)}`;
    if (seen.has(configuration)) return false;
    seen.add(configuration);
    // The next operation was called before any operation that is still to come returned.
    let earliest = Infinity;
    history.forEach(({ returned }, i) => {
      if (!(done >> BigInt(i) & 1n)) earliest = Math.min(earliest, returned);
    });
    return history.some(({ input, output, called }, i) => {
      if ((done >> BigInt(i) & 1n) || called > earliest) return false;
      const next = model.step(state, input, output);
      return next !== undefined && search(done | 1n << BigInt(i), next);
    });
  };
  return search(0n, model.initial);
}
