import { deferred } from "../../src/deferred.ts";
import { withTimeout } from "../../src/deadline.ts";
import type { SqlChanges, SqlChangeWait } from "../../src/store/sql_engine.ts";
import { topicOf } from "./postgres_statements.ts";

/**
 * Listens to a channel on a connection that stays, and calls `notify` with the payload of each notification.
 *
 * ```ts ignore
 * const listen = (channel, notify) => sql.listen(channel, notify); // postgres.js, which also connects anew
 * const listen = async (channel, notify) => { // pg, with a client of its own
 *   const client = new pg.Client({ connectionString });
 *   client.on("notification", ({ payload }) => notify(payload));
 *   await client.connect();
 *   await client.query(`listen ${channel}`);
 * };
 * ```
 */
export type PostgresListen = (channel: string, notify: (payload: string) => void) => PromiseLike<unknown>;

/** An error of a wait whose time is over; it is never thrown to a caller. */
const OVER = new Error("over");

/** The waiters for changed rows, by the payload that tells of the row. */
export class PostgresChanges implements SqlChanges {
  readonly #listen: PostgresListen;
  readonly #channel: string;
  readonly #waiters = new Map<string, Set<() => void>>();
  #listening: Promise<unknown> | undefined;

  /** Listens to nothing before the first wait. */
  constructor(listen: PostgresListen, channel: string) {
    this.#listen = listen;
    this.#channel = channel;
  }

  async wait(prefix: string, key: string): Promise<SqlChangeWait> {
    const topic = await topicOf(prefix, key);
    await this.#begin();
    const waiters = this.#waiters.get(topic) ?? new Set();
    this.#waiters.set(topic, waiters);
    const changed = deferred<void>();
    const notify = () => changed.resolve();
    waiters.add(notify);
    return {
      next: (milliseconds, signal) =>
        withTimeout(changed.promise.then(() => true), milliseconds, signal, () => OVER).catch((error) => {
          if (error === OVER) return false;
          throw error;
        }),
      [Symbol.dispose]: () => {
        if (waiters.delete(notify) && waiters.size === 0) this.#waiters.delete(topic);
      },
    };
  }

  /** Listens once; a refusal is the waiter's, and the next one tries again. */
  async #begin(): Promise<void> {
    this.#listening ??= Promise.resolve(this.#listen(this.#channel, (payload) => {
      for (const notify of this.#waiters.get(payload) ?? []) notify();
    }));
    try {
      await this.#listening;
    } catch (error) {
      this.#listening = undefined;
      throw error;
    }
  }
}
