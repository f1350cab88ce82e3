import { idempotencyFast } from "./fast_idempotency.ts";
import { lockFast } from "./fast_lock.ts";
import { throttleFast } from "./fast_throttle.ts";
import { valueFast } from "./fast_value.ts";
import type { FastPath } from "./fast_path.ts";

/** The fast paths written by hand, by the names of the transitions. */
export const fastPaths: Readonly<Record<string, FastPath>> = {
  ...valueFast(),
  ...lockFast(),
  ...idempotencyFast(),
  ...throttleFast(),
};
