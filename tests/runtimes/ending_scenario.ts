/** Leaves leases behind that nobody releases: the program must end by itself all the same. */
import { createIdempotency, createLocks, memoryStore } from "@holdfast/edge";

/** The resources held when the scenario ended. */
export interface Ended {
  readonly held: boolean;
  readonly aborted: boolean;
  readonly claimed: string;
}

export async function scenario(): Promise<Ended> {
  const store = memoryStore();
  const lock = await createLocks(store).acquire("job", { ttl: "1h", renew: true });
  const { signal } = lock!; // looking at it sets the timer of the deadline
  const idempotency = createIdempotency(store);
  const begun = await idempotency.begin("order:17", { lease: "1h" });
  if (begun.state === "new") void idempotency.hold(begun.claim).signal;
  return { held: lock!.remaining > 0, aborted: signal.aborted, claimed: begun.state };
}
