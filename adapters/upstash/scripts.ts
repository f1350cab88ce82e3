/**
 * The scripts of each contract: what is compiled (`generated/`), with the usual calls that are written by hand. A store
 * carries those that it is given, so an app pays for the contracts that it uses.
 */
import { idempotencyFast } from "./_fast_idempotency.ts";
import { lockFast } from "./_fast_lock.ts";
import { sessionFast } from "./_fast_session.ts";
import { throttleFast } from "./_fast_throttle.ts";
import { valueFast } from "./_fast_value.ts";
import type { FastPath, UpstashScripts } from "./_lua.ts";
import { betterAuthGenerated } from "./generated/better_auth.ts";
import { idempotencyGenerated } from "./generated/idempotency.ts";
import { lockGenerated } from "./generated/lock.ts";
import { outboxGenerated } from "./generated/outbox.ts";
import { sessionGenerated } from "./generated/session.ts";
import { throttleGenerated } from "./generated/throttle.ts";
import { valuesGenerated } from "./generated/values.ts";

function withFast(scripts: UpstashScripts, fast: () => Record<string, FastPath>): UpstashScripts {
  const paths = fast();
  return Object.fromEntries(
    Object.entries(scripts).map(([name, script]) => {
      const path = paths[name];
      return [name, path === undefined ? script : { ...script, fast: path }];
    }),
  );
}

/** The scripts of plain values. */
export const valueScripts: UpstashScripts = /* @__PURE__ */ withFast(valuesGenerated, valueFast);

/** The scripts of `createLocks`. */
export const lockScripts: UpstashScripts = /* @__PURE__ */ withFast(lockGenerated, lockFast);

/** The scripts of `createIdempotency`. */
export const idempotencyScripts: UpstashScripts = /* @__PURE__ */ withFast(
  idempotencyGenerated,
  idempotencyFast,
);

/** The scripts of `createThrottle`. */
export const throttleScripts: UpstashScripts = /* @__PURE__ */ withFast(throttleGenerated, throttleFast);

/** The scripts of `createSessions`, sealed ones included. */
export const sessionScripts: UpstashScripts = /* @__PURE__ */ withFast(sessionGenerated, sessionFast);

/** The scripts of the outbox for emails. */
export const outboxScripts: UpstashScripts = outboxGenerated;

/** The scripts of `betterAuthStorage`. */
export const betterAuthScripts: UpstashScripts = betterAuthGenerated;

/** The scripts of every contract. */
export const allScripts: readonly UpstashScripts[] = /* @__PURE__ */ (() => [
  valueScripts,
  lockScripts,
  idempotencyScripts,
  throttleScripts,
  sessionScripts,
  outboxScripts,
  betterAuthScripts,
])();
