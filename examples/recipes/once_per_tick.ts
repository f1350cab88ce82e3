import { HoldfastError, type Idempotency } from "@holdfast/edge";

/**
 * Runs a job once per tick, however many instances wake for it. All instances get the job's result. One that
 * finds the job being done waits for it, and does it itself when the other one crashes.
 */
export async function oncePerTick<T>(
  jobs: Idempotency, // createIdempotency(store, { name: "cron", lease: "30s", retention: "1d" })
  job: string,
  period: number, // milliseconds: 60_000 for a job of every minute
  work: (signal: AbortSignal) => Promise<T>,
  { now = Date.now(), wait = "35s" as const } = {},
): Promise<T | undefined> {
  const tick = Math.floor(now / period) * period; // the same one on every instance that wakes within the period
  try {
    return await jobs.run(`${job}:${tick}`, ({ signal }) => work(signal), { wait }); // longer than the lease
  } catch (error) {
    // It takes longer than `wait`, on an instance that lives: nothing to do here.
    if (error instanceof HoldfastError && error.code === "in-progress") return undefined;
    throw error;
  }
}
