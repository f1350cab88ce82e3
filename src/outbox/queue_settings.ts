/** The options that outboxes of every kind share, checked and with their defaults. */
import { systemClock } from "../clock.ts";
import { toMilliseconds } from "../duration.ts";
import type { AtomicStore } from "../store/atomic_store.ts";
import { checkInteger, type OptionNames } from "../validate.ts";
import type { OutboxQueueOptions } from "./outbox.ts";
import type { OutboxSettings } from "./outbox_settings.ts";

/** The names of the shared options. */
export const QUEUE_OPTIONS = {
  buckets: true,
  attempts: true,
  delay: true,
  maxDelay: true,
  lease: true,
  retention: true,
  remember: true,
  clock: true,
} satisfies OptionNames<OutboxQueueOptions>;

/**
 * Reads the shared options.
 *
 * @throws {RangeError} when one is out of its range
 */
export function queueSettings(task: string, store: AtomicStore, options: OutboxQueueOptions): OutboxSettings {
  return {
    store,
    buckets: checkInteger(task, "buckets", options.buckets ?? 16),
    attempts: checkInteger(task, "attempts", options.attempts ?? 8),
    delay: toMilliseconds(options.delay ?? "10s", "delay"),
    maxDelay: toMilliseconds(options.maxDelay ?? "1h", "maxDelay"),
    lease: toMilliseconds(options.lease ?? "1m", "lease"),
    retention: toMilliseconds(options.retention ?? "30d", "retention"),
    remember: toMilliseconds(options.remember ?? "24h", "remember"),
    clock: options.clock ?? systemClock,
  };
}
