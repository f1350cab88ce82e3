/**
 * The contracts whose scripts are committed in `generated/`, by the names of their files, with the files that define their
 * transitions. A new contract is one line here, and one in `scripts.ts`.
 */
export const CONTRACTS: Readonly<Record<string, string>> = {
  values: "src/store/value_transitions.ts",
  lock: "src/lock/lock_transitions.ts",
  idempotency: "src/idempotency/idempotency_transitions.ts",
  throttle: "src/throttle/throttle_transitions.ts",
  session: "src/session/session_transitions.ts",
  cache: "src/cache/cache_transitions.ts",
  outbox: "src/outbox/outbox_transitions.ts",
  better_auth: "adapters/better_auth/better_auth_transitions.ts",
};
