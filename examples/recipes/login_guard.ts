import { type AtomicStore, createThrottle, type Duration } from "@holdfast/edge";

/** The durations of the blocks within a day, in order. */
const BLOCKS: readonly Duration[] = ["1m", "5m", "30m", "4h", "1d"];

/** The outcome of a login. */
export type Login = { readonly state: "in" | "wrong" } | {
  readonly state: "blocked";
  readonly retryAfter: number;
};

/**
 * Guards a login against guessing. Failures count for the account and the address together, so that a stranger
 * cannot lock a visitor out, and for the address alone, so that no address tries many accounts. Each block is longer
 * than the one before.
 */
export function loginGuard(store: AtomicStore) {
  const common = { window: "15m", whenUnavailable: "deny" } as const;
  const byPair = createThrottle(store, { name: "login", limit: 5, ...common });
  const byAddress = createThrottle(store, { name: "login-address", limit: 30, ...common });
  const strikes = store.namespace("login-strikes");

  return async function login(
    account: string,
    address: string, // clientAddress(request, connection, { platform: … })
    isRight: () => Promise<boolean>,
  ): Promise<Login> {
    const pair = `${address} ${account.toLowerCase()}`;
    // Counted before the password is looked at: a crowd of parallel guesses gets no further than one at a time.
    for (const [throttle, key] of [[byAddress, address], [byPair, pair]] as const) {
      const { allowed, blockedFor, retryAfter } = await throttle.check(key);
      if (allowed) continue;
      if (blockedFor > 0) return { state: "blocked", retryAfter };
      const { value } = await strikes.increment(key, { ttl: "1d" });
      await throttle.block(key, BLOCKS[Math.min(value, BLOCKS.length) - 1]!);
      return { state: "blocked", retryAfter: (await throttle.peek(key)).retryAfter };
    }
    if (!await isRight()) return { state: "wrong" };
    await Promise.all([byPair.reset(pair), byAddress.refund(address, 1), strikes.delete(pair)]);
    return { state: "in" };
  };
}
