/** A third party's store may hang; no request waits for it longer than it must. */
import { HoldfastError } from "../errors.ts";
import { withTimeout } from "../deadline.ts";
import type { CallOptions } from "../store/key_value_store.ts";
import type { SessionIndex, SessionStore } from "./session_store.ts";

/** The same store, whose calls give up after so many milliseconds. */
export function withDeadline(store: SessionStore, milliseconds: number): SessionStore {
  async function limited<T>(
    writes: boolean,
    options: CallOptions | undefined,
    call: (options: CallOptions) => Promise<T>,
  ): Promise<T> {
    const over = new AbortController();
    const signal = options?.signal ? AbortSignal.any([options.signal, over.signal]) : over.signal;
    return await withTimeout(call({ signal }), milliseconds, options?.signal, () => {
      const error = new HoldfastError("timeout", "Cannot wait any longer for the session store", {
        retryable: true,
        ambiguous: writes,
      });
      over.abort(error);
      return error;
    });
  }
  const { index } = store;
  return {
    consistency: store.consistency,
    load: (key, options) => limited(false, options, (o) => store.load(key, o)),
    save: (key, change, options) => limited(true, options, (o) => store.save(key, change, o)),
    delete: (key, options) => limited(true, options, (o) => store.delete(key, { ...options, ...o })),
    exists: (key, options) => limited(false, options, (o) => store.exists(key, o)),
    index: index && ({
      add: (user, entry, options) =>
        limited(true, options, (o) => index.add(user, entry, { ...options, ...o })),
      remove: (user, handle, options) => limited(true, options, (o) => index.remove(user, handle, o)),
      read: (user, options) => limited(false, options, (o) => index.read(user, o)),
      revoke: (user, options) => limited(true, options, (o) => index.revoke(user, { ...options, ...o })),
      keys: (options) => limited(false, options, (o) => index.keys({ ...options, ...o })),
    } satisfies SessionIndex),
  };
}
