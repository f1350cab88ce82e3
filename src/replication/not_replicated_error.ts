import { HoldfastError } from "../errors.ts";

/**
 * A change that is known to be on one side only, or on neither for certain.
 *
 * @category Session replication
 */
export class NotReplicatedError extends HoldfastError {
  /** The side that has it; `neither` when no side confirmed it. */
  readonly committed: "primary" | "secondary" | "neither";
  /** True if it is queued and will be shipped. */
  readonly queued: boolean;

  /** Makes a fault that says where the change is. */
  constructor(committed: "primary" | "secondary" | "neither", queued: boolean, cause?: unknown) {
    super(
      "not-replicated",
      `Cannot acknowledge the change as it must reach both sides: current value is ${committed}`,
      { retryable: true, ambiguous: true, cause },
    );
    this.committed = committed;
    this.queued = queued;
  }
}
