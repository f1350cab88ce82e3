/**
 * For tests: a clock that they move, stores and mailers that fail by a plan, and the laws of every contract
 * as data, to prove an engine of your own with the suite that ours run.
 *
 * ```ts
 * import { memoryStore } from "@holdfast/edge";
 * import { atomicStoreLaw, keyValueStoreLaw } from "@holdfast/edge/testing";
 *
 * for (const law of [...keyValueStoreLaw, ...atomicStoreLaw]) {
 *   const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
 *   await law.run({ store: memoryStore(), wait }); // rejects when the promise is broken
 * }
 * ```
 *
 * @module
 */

export * from "./atomic_store_law.ts";
export * from "./cache_law.ts";
export type { Fault, FaultPlan, PlannedCall } from "./fault_plan.ts";
export * from "./faulty_mailer.ts";
export * from "./faulty_store.ts";
export * from "./idempotency_law.ts";
export * from "./key_value_store_law.ts";
export * from "./law.ts";
export * from "./lock_law.ts";
export * from "./mail_coordination_law.ts";
export * from "./mail_outbox_law.ts";
export * from "./mailer_law.ts";
export * from "./manual_clock.ts";
export * from "./outbox_law.ts";
export * from "./prefix_law.ts";
export * from "./sealed_session_law.ts";
export * from "./session_index_law.ts";
export * from "./session_law.ts";
export * from "./session_store_law.ts";
export * from "./session_user_law.ts";
export * from "./throttle_law.ts";
