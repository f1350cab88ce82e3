/** Records what clients call and what they are answered, on a clock that all of them share. */
import { HoldfastError } from "@holdfast/edge";
import type { Operation } from "./linearizability.ts";

/** A history that grows. */
export class Recorder<In, Out> {
  readonly operations: Operation<In, Out>[] = [];
  #time = 0;

  /** The number of calls in doubt, and of those that were refused with certainty. */
  readonly counts = { certain: 0, doubtful: 0, refused: 0 };

  /**
   * Calls and records. A certain failure has no place in the history, since nothing happened; a failure in
   * doubt may take effect at any later time, or never.
   *
   * @returns the output; `undefined` after a failure
   */
  async call(client: number, input: In, work: () => Promise<Out>, hidden?: In): Promise<Out | undefined> {
    const called = this.#time++;
    try {
      const output = await work();
      this.operations.push({ client, input, output, called, returned: this.#time++ });
      this.counts.certain++;
      return output;
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      if (!error.ambiguous) {
        this.counts.refused++;
        return undefined;
      }
      this.counts.doubtful++;
      const open = { client, output: undefined, called, returned: Infinity };
      this.operations.push({ ...open, input });
      // Calls that a contract makes later by itself about a call in doubt, such as the release of an
      // acquisition.
      if (hidden !== undefined) this.operations.push({ ...open, input: hidden });
      return undefined;
    }
  }
}
