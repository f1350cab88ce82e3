/**
 * The outbox: a durable queue of anything, delivered at least once, in one transaction with the business row
 * where the engine can.
 *
 * @module
 */
export * from "./create_outbox.ts";
export * from "./outbox.ts";
