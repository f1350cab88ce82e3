/**
 * The scripts of each contract, compiled from its transitions (`generated/`). A store carries those that it
 * is given, so an app pays for the contracts that it uses.
 */
import type { UpstashScripts } from "./_lua.ts";
import { betterAuthScripts } from "./generated/better_auth.ts";
import { cacheScripts } from "./generated/cache.ts";
import { idempotencyScripts } from "./generated/idempotency.ts";
import { lockScripts } from "./generated/lock.ts";
import { outboxScripts } from "./generated/outbox.ts";
import { sessionScripts } from "./generated/session.ts";
import { throttleScripts } from "./generated/throttle.ts";
import { valuesScripts } from "./generated/values.ts";

/** The scripts of every contract. */
export const allScripts: readonly UpstashScripts[] = /* @__PURE__ */ (() => [
  valuesScripts,
  lockScripts,
  idempotencyScripts,
  throttleScripts,
  sessionScripts,
  cacheScripts,
  outboxScripts,
  betterAuthScripts,
])();
