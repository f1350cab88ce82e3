/** Every Lua twin. */
import type { LuaTwin } from "./_lua.ts";
import { betterAuthTwins } from "./_lua_better_auth.ts";
import { cacheTwins } from "./_lua_cache.ts";
import { idempotencyTwins } from "./_lua_idempotency.ts";
import { lockTwins } from "./_lua_lock.ts";
import { outboxTwins } from "./_lua_outbox.ts";
import { sessionTwins } from "./_lua_session.ts";
import { throttleTwins } from "./_lua_throttle.ts";
import { valueTwins } from "./_lua_value.ts";

/** By the name of the transition; one that is not here runs through compare-and-set. */
export const LUA_TWINS: Readonly<Record<string, LuaTwin>> = {
  ...valueTwins,
  ...lockTwins,
  ...idempotencyTwins,
  ...throttleTwins,
  ...sessionTwins,
  ...outboxTwins,
  ...cacheTwins,
  ...betterAuthTwins,
};
