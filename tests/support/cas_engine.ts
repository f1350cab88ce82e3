/** The smallest compare-and-set backend there is, to prove what is written once over `transact` and `list` alone. */
import type { AtomicStore, Clock } from "@holdfast/edge";
import {
  type Fields,
  storeFromEngine,
  transactByCompareAndSet,
  type VersionedRecord,
} from "@holdfast/edge/engine";

export function compareAndSetStore(clock: Clock): AtomicStore {
  const rows = new Map<string, { record: Fields; expiresAt: number | undefined; version: number }>();
  let versions = 0;
  const backend = {
    load: (key: string): Promise<VersionedRecord> => {
      const row = rows.get(key);
      return Promise.resolve({ record: row?.record, expiresAt: row?.expiresAt, version: row?.version });
    },
    commit: (key: string, version: unknown, write: { record: Fields | undefined; expiresAt?: number }) => {
      if (rows.get(key)?.version !== version) return Promise.resolve(false);
      if (write.record === undefined) rows.delete(key);
      else rows.set(key, { record: { ...write.record }, expiresAt: write.expiresAt, version: ++versions });
      return Promise.resolve(true);
    },
  };
  // Between tries only other work must get its turn: the test's clock stands still.
  const impatient: Clock = {
    ...clock,
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    sleep: () => new Promise((r) => setTimeout(r, 0)),
  };
  return storeFromEngine({
    name: "compare-and-set",
    limits: { maxKeyBytes: 512, maxValueLength: 1_000_000 },
    transact: (transition, key, input, options) =>
      transactByCompareAndSet(backend, transition, key, input, {
        clock: impatient,
        attempts: 5000,
        signal: options?.signal,
      }),
    list({ prefix, cursor, limit }) {
      const keys = [...rows].filter(([key, { expiresAt }]) =>
        key.startsWith(prefix) && (cursor === undefined || key > cursor) &&
        (expiresAt === undefined || clock.now() < expiresAt)
      ).map(([key]) => key).sort();
      return keys.length > limit ? { keys: keys.slice(0, limit), cursor: keys[limit - 1]! } : { keys };
    },
  });
}
