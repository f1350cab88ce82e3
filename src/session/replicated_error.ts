import { HoldfastError } from "../errors.ts";

/** A change reached one side, and not the other, or nobody knows. */
export class NotReplicatedError extends HoldfastError {
  /** The side that has it; `neither` when none said so. */
  readonly committed: "primary" | "secondary" | "neither";
  /** Whether it is queued and will be shipped. */
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
