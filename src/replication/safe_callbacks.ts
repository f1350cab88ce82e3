/**
 * The application's callbacks, made harmless: one that throws must not reject a save that happened, nor stop
 * the queue.
 */
import { type Clock, systemClock } from "../clock.ts";
import { dropRejection, safely } from "../safely.ts";
import type {
  DroppedReplication,
  ReplicatedSessionsOptions,
  ReplicationFaultContext,
  ReplicationOperation,
} from "./replicated_sessions.ts";

/** The callbacks that replication uses; none of them throws. */
export interface SafeCallbacks {
  readonly clock: Clock;
  readonly random: () => number;
  waitUntil(work: Promise<unknown>): void;
  onFault(error: unknown, context: ReplicationFaultContext): void;
  onDropped(dropped: DroppedReplication): void;
  onOperation: ((operation: ReplicationOperation) => void) | undefined;
}

/**
 * Wraps what the application passed in. What throws is reported to `onFault`; what `onFault` throws is
 * ignored.
 */
export function safeCallbacks(options: ReplicatedSessionsOptions): SafeCallbacks {
  const { clock = systemClock, random = Math.random, waitUntil, onDropped, onOperation } = options;
  const onFault = safely(options.onFault);
  const or = <T>(operation: ReplicationFaultContext["operation"], call: () => T, other: () => T): T => {
    try {
      return call();
    } catch (error) {
      onFault(error, { operation });
      return other();
    }
  };
  return {
    clock: clock === systemClock ? clock : {
      now: () => or("clock", () => clock.now(), () => systemClock.now()),
      // A clock that fails keeps its last value: a value of another clock cannot be compared with it.
      monotonic: steady((failed) => or("clock", () => clock.monotonic(), failed)),
      async sleep(milliseconds, signal) {
        try {
          await clock.sleep(milliseconds, signal);
        } catch (error) {
          if (signal?.aborted) throw error;
          onFault(error, { operation: "clock" });
          await systemClock.sleep(milliseconds, signal);
        }
      },
    },
    random: random === Math.random ? random : () => or("random", random, Math.random),
    waitUntil: (work) => or("waitUntil", () => void dropRejection(waitUntil?.(work)), () => {}),
    onFault,
    onDropped: safely(onDropped),
    onOperation: onOperation && safely(onOperation),
  };
}

/** A reading that answers its last value when it fails. */
function steady(read: (failed: () => number) => number): () => number {
  let last = 0;
  return () => last = read(() => last);
}
