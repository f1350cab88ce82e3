/** All laws, by contract. */
import type { AtomicStore } from "@holdfast/edge";
import { atomicSessionStore } from "@holdfast/edge/sessions";
import {
  atomicStoreLaw,
  cacheLaw,
  idempotencyLaw,
  keyValueStoreLaw,
  type Law,
  lockLaw,
  mailCoordinationLaw,
  mailOutboxLaw,
  outboxLaw,
  sealedSessionLaw,
  sessionIndexLaw,
  sessionLaw,
  sessionStoreLaw,
  sessionUserLaw,
  type StoreSubject,
  throttleLaw,
} from "@holdfast/edge/testing";

export const contracts: Record<string, readonly Law<StoreSubject<AtomicStore>>[]> = {
  "key-value store": keyValueStoreLaw,
  "atomic store": atomicStoreLaw,
  "locks": lockLaw,
  "idempotency": idempotencyLaw,
  "throttle": throttleLaw,
  "cache": cacheLaw,
  "session store": sessionStoreLaw.map(({ name, run }) => ({
    name,
    run: ({ store, ...subject }) => run({ ...subject, store: atomicSessionStore(store) }),
  })),
  "session index": sessionIndexLaw.map(({ name, run }) => ({
    name,
    run: ({ store, ...subject }) => run({ ...subject, store: atomicSessionStore(store).index }),
  })),
  "sessions": sessionLaw,
  "outbox": outboxLaw,
  "mail outbox": mailOutboxLaw,
  "mail coordination": mailCoordinationLaw,
  "sessions of users": sessionUserLaw,
  "sealed sessions": sealedSessionLaw,
};
