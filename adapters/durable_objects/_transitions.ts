import { cacheTransitions } from "../../src/cache/cache_transitions.ts";
import { outboxTransitions } from "../../src/outbox/outbox_transitions.ts";
import { idempotencyTransitions } from "../../src/idempotency/idempotency_transitions.ts";
import { lockTransitions } from "../../src/lock/lock_transitions.ts";
import { sessionTransitions } from "../../src/session/session_transitions.ts";
import type { Transition } from "../../src/store/transition.ts";
import { valueTransitions } from "../../src/store/value_transitions.ts";
import { throttleTransitions } from "../../src/throttle/throttle_transitions.ts";

/** The transitions of every contract of ours: what an object can be asked for by name. */
export const OUR_TRANSITIONS: readonly Transition[] = [
  ...valueTransitions,
  ...lockTransitions,
  ...idempotencyTransitions,
  ...throttleTransitions,
  ...sessionTransitions,
  ...outboxTransitions,
  ...cacheTransitions,
];
