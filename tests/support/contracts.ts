/** All laws, by contract. */
import type { AtomicStore } from "@holdfast/edge";
import {
  atomicStoreLaw,
  idempotencyLaw,
  keyValueStoreLaw,
  type Law,
  lockLaw,
  outboxLaw,
  sessionLaw,
  type StoreSubject,
  throttleLaw,
} from "@holdfast/edge/testing";

export const contracts: Record<string, readonly Law<StoreSubject<AtomicStore>>[]> = {
  "key-value store": keyValueStoreLaw,
  "atomic store": atomicStoreLaw,
  "locks": lockLaw,
  "idempotency": idempotencyLaw,
  "throttle": throttleLaw,
  "sessions": sessionLaw,
  "outbox": outboxLaw,
};
